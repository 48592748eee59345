"""Checkpoints of every kind that is read where it lies: their modules, small or of the true sizes, and their names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from backend.guidance import clip_tokenizer, ldm
from backend.guidance.folders import Prediction
from tests.guidance import ldm_layout as layout
from tests.guidance.ldm_layout import Weights

KINDS = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "Stable Diffusion XL"}

Modules = dict[str, Any]

_CROSS, _PLAIN = "CrossAttn{}Block2D", "{}Block2D"


def _unet(attention: str, **settings: Any) -> UNet2DConditionModel:
    """attention: of each level, "x" or "-"."""
    kinds = [_CROSS if each == "x" else _PLAIN for each in attention]
    return UNet2DConditionModel(
        down_block_types=[kind.format("Down") for kind in kinds],
        up_block_types=[kind.format("Up") for kind in reversed(kinds)],
        **settings,
    )


def _vae(scale: float, picture: int, channels: tuple[int, ...], layers: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=layers,
        sample_size=picture,
        scaling_factor=scale,
    )


def _text(width: int, layers: int, act: str, projected: bool = False) -> Any:
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=49_408,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            projection_dim=width,
            hidden_act=act,
        )
    )


_XL_TOLD = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}


def small(kind: str) -> Modules:
    """With true names, and everything as narrow as 32 groups of channels and heads of 64 allow."""
    shape: dict[str, Any] = {"block_out_channels": (64, 128, 128), "layers_per_block": 1}
    vae = _vae(0.13025 if kind == "sdxl" else 0.18215, 1024 if kind == "sdxl" else 512, (32,) * 4, 1)
    match kind:
        case "sd1":
            unet = _unet("xx-", sample_size=64, cross_attention_dim=64, **shape)
            return {"unet": unet, "vae": vae, "text_encoder": _text(64, 2, "quick_gelu")}
        case "sd2":
            heads = {"attention_head_dim": [1, 2, 2], "use_linear_projection": True}
            unet = _unet("xx-", sample_size=64, cross_attention_dim=64, **shape, **heads)
            return {"unet": unet, "vae": vae, "text_encoder": _text(64, 2, "gelu")}
        case _:
            depths = {"transformer_layers_per_block": [1, 1, 2], "attention_head_dim": [1, 2, 2]}
            told = {"projection_class_embeddings_input_dim": 64 + 6 * 256, **_XL_TOLD}
            unet = _unet("-xx", sample_size=128, cross_attention_dim=128, **shape, **depths, **told)
            texts = {"text_encoder": _text(64, 2, "quick_gelu"), "text_encoder_2": _text(64, 2, "gelu", projected=True)}
            return {"unet": unet, "vae": vae, **texts}


def true_sized(kind: str) -> Modules:
    """Of the published sizes, without numbers."""
    channels = (128, 256, 512, 512)
    with torch.device("meta"):
        match kind:
            case "sd1":
                unet = _unet("xxx-", sample_size=64, cross_attention_dim=768)
                parts = {"vae": _vae(0.18215, 512, channels, 2), "text_encoder": _text(768, 12, "quick_gelu")}
            case "sd2":
                heads = {"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
                unet = _unet("xxx-", sample_size=64, cross_attention_dim=1024, **heads)
                parts = {"vae": _vae(0.18215, 512, channels, 2), "text_encoder": _text(1024, 23, "gelu")}
            case _:
                depths = {"transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20]}
                told = {"projection_class_embeddings_input_dim": 2816, **_XL_TOLD}
                shape: dict[str, Any] = {"block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048}
                unet = _unet("-xx", sample_size=128, **shape, **depths, **told)
                parts = {
                    "vae": _vae(0.13025, 1024, channels, 2),
                    "text_encoder": _text(768, 12, "quick_gelu"),
                    "text_encoder_2": _text(1280, 32, "gelu", projected=True),
                }
    return {"unet": unet, **parts}


def checkpoint(kind: str, modules: Modules) -> Weights:
    """All weights, by the names that they have in one file."""
    weights = layout.under(layout.UNET, layout.unet(modules["unet"]))
    weights |= layout.under(layout.VAE, layout.vae(modules["vae"]))
    text = modules["text_encoder"]
    if kind == "sd1":
        return weights | layout.under(layout.CLIP, layout.clip(text))
    if kind == "sd2":
        return weights | layout.under(layout.OPEN_CLIP, layout.open_clip(text))
    second = layout.open_clip(modules["text_encoder_2"], projected=True)
    return weights | layout.under(layout.XL_CLIP, layout.clip(text)) | layout.under(layout.XL_OPEN_CLIP, second)


def made(kind: str, of: Callable[[str], Modules] = small) -> Modules:
    """The modules with random numbers, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return of(kind)


def save(path: Path, weights: Weights, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in weights.items()}, path, metadata)
    return path


def save_folder(folder: Path, kind: str, modules: Modules, prediction: Prediction) -> Path:
    """The same as a folder of diffusers'."""
    for part, module in modules.items():
        module.save_pretrained(folder / part)
    pad = clip_tokenizer.OPEN_CLIP_PAD if kind == "sd2" else clip_tokenizer.CLIP_PAD
    clip_tokenizer.write(folder / "tokenizer", pad)
    if kind == "sdxl":
        clip_tokenizer.write(folder / "tokenizer_2", clip_tokenizer.OPEN_CLIP_PAD)
    ldm.noise(prediction).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({part: ["diffusers", "Some"] for part in modules}))
    return folder
