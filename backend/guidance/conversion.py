"""MVDream's original weights -> a folder of diffusers' classes (see `mvdream`).

The UNet is Stable Diffusion's, with the names of its program, which diffusers converts itself; what is MVDream's own is
a perceptron for the camera, added to the embedding of the timestep: the "projection" class embedding of diffusers.
Configurations are read off the shapes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from backend.errors import UserError
from backend.guidance import clip_tokenizer, folders
from backend.guidance.folders import CAMERA_NUMBERS
from backend.guidance.loading import quiet

_UNET, _VAE, _TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
_LATENT_SIZE, _PICTURE_SIZE = 32, 256
_HEAD = 64  # channels of a head of attention, in Stable Diffusion 2's UNet and in its text encoder
_FIRST, _BLOCK = "input_blocks.0.0.weight", "transformer.resblocks."

_INDEX = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}


def convert(source: Path, target: Path) -> None:
    """Write the model in `source`, a checkpoint or a folder, into the new folder `target`, as far as it comes.

    Raises UserError if it is not whole, or cannot be written.
    """
    try:
        with quiet():
            (_convert_checkpoint if source.is_file() else _convert_folder)(source, target)
        (target / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n", "utf-8")
    except KeyError as error:
        raise UserError(f"{source} is no whole MVDream model ({error.args[0]} is missing); fetch it again") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot convert {source} ({error}); mend that and add it again") from error


def _convert_checkpoint(path: Path, target: Path) -> None:
    state = load_file(path)
    if not any(name.startswith(_TEXT) for name in state):
        raise UserError(
            f"{path} has no OpenCLIP text encoder, which MVDream of Stable Diffusion 2.1 has; take "
            "sd-v2.1-base-4view, or a folder with all parts"
        )
    unet, vae, text = _unet(_without(_UNET, state), path), _vae(state, path), _text_encoder(state, path)
    for part, model in {"unet": unet, "vae": vae, "text_encoder": text}.items():
        model.save_pretrained(target / part)
    clip_tokenizer.write(target / "tokenizer")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(target / "scheduler")


def _convert_folder(folder: Path, target: Path) -> None:
    folders.check_parts(folder)
    state: dict[str, Tensor] = {}
    for path in folders.weight_files(folder / "unet"):
        state |= load_file(path)
    before = next((name.removesuffix(_FIRST) for name in state if name.endswith(_FIRST)), "")
    _unet(_without(before, state), folder).save_pretrained(target / "unet")
    for part in folders.PARTS:
        if part != "unet" and (folder / part).is_dir():
            shutil.copytree(folder / part, target / part)


def _unet(state: Mapping[str, Tensor], path: Path) -> UNet2DConditionModel:
    config = _unet_config(state)
    # What diffusers converts into a class embedding is a perceptron like that for the camera.
    named = {_UNET + name.replace("camera_embed.", "label_emb.0."): tensor for name, tensor in state.items()}
    converted = convert_ldm_unet_checkpoint(named, config)
    taken = {id(tensor) for tensor in converted.values()}
    if left := sorted(name for name, tensor in state.items() if id(tensor) not in taken):
        raise UserError(f"{path} has what MVDream lacks ({left[0]}), as ImageDream does; only MVDream is supported")
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    return _filled(unet, converted, path)


def _unet_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    levels: list[list[int]] = [[]]
    attend: list[bool] = [False]
    last = max((int(name.split(".")[1]) for name in state if name.startswith("input_blocks.")), default=0)
    for index in range(1, last + 1):
        block = f"input_blocks.{index}"
        if f"{block}.0.op.weight" in state:
            levels.append([])
            attend.append(False)
        else:
            levels[-1].append(len(state[f"{block}.0.out_layers.3.weight"]))
            attend[-1] = f"{block}.1.proj_in.weight" in state
    if not all(levels):
        raise KeyError(f"input_blocks.{last + 1}")
    channels = [level[0] for level in levels]
    block = "middle_block.1"
    linear = state[f"{block}.proj_in.weight"].ndim == 2
    return {
        "sample_size": _LATENT_SIZE,
        "in_channels": state[_FIRST].shape[1],
        "out_channels": len(state["out.2.weight"]),
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": [f"{'CrossAttn' * each}DownBlock2D" for each in attend],
        "up_block_types": [f"{'CrossAttn' * each}UpBlock2D" for each in reversed(attend)],
        "cross_attention_dim": state[f"{block}.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        # Diffusers means the number of heads by this. It is always 8 in Stable Diffusion 1, whose projections are not
        # linear but convolutions.
        "attention_head_dim": [each // _HEAD for each in channels] if linear else 8,
        "use_linear_projection": linear,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": CAMERA_NUMBERS,
    }


def _vae(checkpoint: Mapping[str, Tensor], path: Path) -> AutoencoderKL:
    own = _without(_VAE, checkpoint)
    channels: list[int] = []
    layers = 0
    while f"encoder.down.{len(channels)}.block.0.conv2.weight" in own:
        channels.append(len(own[f"encoder.down.{len(channels)}.block.0.conv2.weight"]))
    while f"encoder.down.0.block.{layers}.conv2.weight" in own:
        layers += 1
    config = {
        "sample_size": _PICTURE_SIZE,
        "latent_channels": len(own["post_quant_conv.weight"]),
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "layers_per_block": layers,
        "scaling_factor": 0.18215,
    }
    with torch.device("meta"):
        vae = AutoencoderKL(**config)
    return _filled(vae, convert_ldm_vae_checkpoint(checkpoint, config), path)


def _text_encoder(checkpoint: Mapping[str, Tensor], path: Path) -> CLIPTextModel:
    """OpenCLIP's but for the last block: MVDream reads the last but one, as Stable Diffusion 2 does."""
    state = _without(_TEXT, checkpoint)
    width = state["token_embedding.weight"].shape[1]
    last = max((int(name.split(".")[2]) for name in state if name.startswith(_BLOCK)), default=0)
    unread = (f"{_BLOCK}{last}.", "text_projection")
    read = {_TEXT + name: tensor for name, tensor in state.items() if not name.startswith(unread)}
    config = CLIPTextConfig(
        vocab_size=len(state["token_embedding.weight"]),
        hidden_size=width,
        intermediate_size=len(state[f"{_BLOCK}0.mlp.c_fc.weight"]),
        num_hidden_layers=last,
        num_attention_heads=width // _HEAD,
        max_position_embeddings=len(state["positional_embedding"]),
        hidden_act="gelu",
    )
    with torch.device("meta"):
        text = CLIPTextModel(config)
    converted = convert_open_clip_checkpoint(text, read, _TEXT)
    if not hasattr(text, "text_model"):  # as of transformers 5.6
        converted = _without("text_model.", converted)
    return _filled(text, converted, path)


def _filled(model: Any, state: Mapping[str, Tensor], path: Path) -> Any:
    """`model` with the weights in `state`, which has to have them all. Raises UserError or KeyError."""
    wanted = {name: state[name] for name in model.state_dict()}
    for name, tensor in model.state_dict().items():
        if wanted[name].shape != tensor.shape:
            found, needed = tuple(wanted[name].shape), tuple(tensor.shape)
            raise UserError(
                f"{path} is no MVDream model that is supported ({name} has the shape {found}, not {needed})"
            )
    model.load_state_dict(wanted, assign=True)
    return model


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
