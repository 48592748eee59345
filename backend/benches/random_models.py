"""Models with the build of those that artists have, and random weights: their cost is that of the real ones."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from backend.guidance import clip_tokenizer, ldm
from backend.guidance.folders import CAMERA_NUMBERS, Prediction

KINDS = {
    "sd1": "Stable Diffusion 1.5",
    "sd2": "Stable Diffusion 2.1",
    "sdxl": "Stable Diffusion XL",
    "mvdream": "MVDream",
}
"""What there is, and what each is called."""

Modules = dict[str, Any]

_CROSS, _PLAIN = "CrossAttn{}Block2D", "{}Block2D"
_XL_TOLD = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}
_CAMERA = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": CAMERA_NUMBERS}


def small(kind: str, latents: int | None = None) -> Modules:
    """With true names, and everything as narrow as 32 groups of channels and heads of 64 allow.

    latents: on a side of what it diffuses; as many as the published one's if None.
    """
    shape: dict[str, Any] = {"block_out_channels": (64, 128, 128), "layers_per_block": 1}
    side = latents or (128 if kind == "sdxl" else 32 if kind == "mvdream" else 64)
    vae = _vae(0.13025 if kind == "sdxl" else 0.18215, 8 * side, (32,) * 4, 1)
    match kind:
        case "sd1":
            unet = _unet("xx-", sample_size=side, cross_attention_dim=64, **shape)
            return {"unet": unet, "vae": vae, "text_encoder": _text(64, 2, "quick_gelu")}
        case "sd2" | "mvdream":
            heads = {"attention_head_dim": [1, 2, 2], "use_linear_projection": True}
            told = _CAMERA if kind == "mvdream" else {}
            unet = _unet("xx-", sample_size=side, cross_attention_dim=64, **shape, **heads, **told)
            return {"unet": unet, "vae": vae, "text_encoder": _text(64, 2, "gelu")}
        case _:
            depths = {"transformer_layers_per_block": [1, 1, 2], "attention_head_dim": [1, 2, 2]}
            sizes = {"projection_class_embeddings_input_dim": 64 + 6 * 256, **_XL_TOLD}
            unet = _unet("-xx", sample_size=side, cross_attention_dim=128, **shape, **depths, **sizes)
            texts = {"text_encoder": _text(64, 2, "quick_gelu"), "text_encoder_2": _text(64, 2, "gelu", projected=True)}
            return {"unet": unet, "vae": vae, **texts}


def true_sized(kind: str) -> Modules:
    """Of the published sizes."""
    channels = (128, 256, 512, 512)
    match kind:
        case "sd1":
            unet = _unet("xxx-", sample_size=64, cross_attention_dim=768)
            parts = {"vae": _vae(0.18215, 512, channels, 2), "text_encoder": _text(768, 12, "quick_gelu")}
        case "sd2" | "mvdream":
            heads = {"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
            told, side = (_CAMERA, 32) if kind == "mvdream" else ({}, 64)
            unet = _unet("xxx-", sample_size=side, cross_attention_dim=1024, **heads, **told)
            parts = {"vae": _vae(0.18215, 8 * side, channels, 2), "text_encoder": _text(1024, 23, "gelu")}
        case _:
            depths = {"transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20]}
            sizes = {"projection_class_embeddings_input_dim": 2816, **_XL_TOLD}
            shape: dict[str, Any] = {"block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048}
            unet = _unet("-xx", sample_size=128, **shape, **depths, **sizes)
            parts = {
                "vae": _vae(0.13025, 1024, channels, 2),
                "text_encoder": _text(768, 12, "quick_gelu"),
                "text_encoder_2": _text(1280, 32, "gelu", projected=True),
            }
    return {"unet": unet, **parts}


def save_folder(folder: Path, kind: str, modules: Modules, prediction: Prediction) -> Path:
    """Write them as diffusers lays a model out; returns `folder`."""
    for part, module in modules.items():
        module.save_pretrained(folder / part)
    pad = clip_tokenizer.CLIP_PAD if kind in ("sd1", "sdxl") else clip_tokenizer.OPEN_CLIP_PAD
    clip_tokenizer.write(folder / "tokenizer", pad)
    if kind == "sdxl":
        clip_tokenizer.write(folder / "tokenizer_2", clip_tokenizer.OPEN_CLIP_PAD)
    ldm.noise(prediction).save_pretrained(folder / "scheduler")
    index = {part: ["diffusers", "Some"] for part in modules}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def true_folder(folder: Path, kind: str, device: torch.device) -> Path:
    """A model of the published sizes in half precision, made on `device`, which is quicker on a GPU."""
    with device:
        modules = true_sized(kind)
    return save_folder(folder, kind, {part: module.half() for part, module in modules.items()}, "epsilon")


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
