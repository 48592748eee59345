"""Weights with the names of the program that Stable Diffusion was trained by (latent-diffusion) -> diffusers' classes.

What a model is made of is read off the shapes; diffusers' own converters do the renaming. `state` is always what one
part has, its names without the part's prefix.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from backend.errors import UserError
from backend.guidance.folders import Prediction

UNET, VAE = "model.diffusion_model.", "first_stage_model."

LATENT_SCALE = 0.18215
"""What latents are multiplied by to be of unit size, in all but XL."""

State = Mapping[str, Tensor]

_HEAD = 64  # channels of a head of attention, in text encoders and in UNets since Stable Diffusion 2
_FIRST, _BLOCK, _LAYER = "input_blocks.0.0.weight", "transformer.resblocks.", "encoder.layers."
_TEXT, _PROJECTION, _POSITIONS = "text_model.", "text_projection.weight", "position_ids"
_TIME_NUMBERS = 256
"""What each of XL's numbers on a picture's size becomes."""


@contextmanager
def explained(source: Path, kind: str) -> Iterator[None]:
    """Say in one line why what is in `source` does not become a model of the `kind`."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{source} is no whole {kind} ({error.args[0]} is missing); fetch it again") from error
    except Misfit as error:
        raise UserError(f"{source} is no {kind} that is supported ({error})") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot convert {source} ({error}); mend that and add it again") from error


class Misfit(Exception):
    """A part is of a make that diffusers' classes do not have; says which tensor, and how."""


class Unread(Misfit):
    """A part has a tensor, `name`, that goes nowhere."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"nothing reads {name}")


def without(prefix: str, state: State) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def filled(model: Any, state: State) -> Any:
    """`model` with the weights in `state`, which has to have them all. Raises KeyError or Misfit."""
    wanted = {name: state[name] for name in model.state_dict()}
    for name, tensor in model.state_dict().items():
        if wanted[name].shape != tensor.shape:
            raise Misfit(f"{name} has the shape {tuple(wanted[name].shape)}, not {tuple(tensor.shape)}")
    model.load_state_dict(wanted, assign=True)
    return model


def noise(prediction: Prediction, zero_snr: bool = False) -> DDIMScheduler:
    """The noise schedule of all of them. zero_snr: without any signal at its last timestep."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
    )


def unet_settings(state: State) -> dict[str, Any]:
    """The configuration of a UNet, but for the size of its pictures. Raises KeyError if it is not whole."""
    levels: list[list[int]] = [[]]
    depths: list[int] = [0]  # transformers after one another, where there is attention
    last = max((int(name.split(".")[1]) for name in state if name.startswith("input_blocks.")), default=0)
    for index in range(1, last + 1):
        block = f"input_blocks.{index}"
        if f"{block}.0.op.weight" in state:
            levels.append([])
            depths.append(0)
        else:
            levels[-1].append(len(state[f"{block}.0.out_layers.3.weight"]))
            depths[-1] = _depth(state, f"{block}.1")
    if not all(levels):
        raise KeyError(f"input_blocks.{last + 1}")
    channels = [level[0] for level in levels]
    block = "middle_block.1"
    linear = state[f"{block}.proj_in.weight"].ndim == 2
    return {
        "in_channels": state[_FIRST].shape[1],
        "out_channels": len(state["out.2.weight"]),
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "down_block_types": [f"{'CrossAttn' * bool(depth)}DownBlock2D" for depth in depths],
        "up_block_types": [f"{'CrossAttn' * bool(depth)}UpBlock2D" for depth in reversed(depths)],
        "cross_attention_dim": state[f"{block}.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        # Diffusers means the number of heads by this. It is always 8 in Stable Diffusion 1, whose projections are not
        # linear but convolutions.
        "attention_head_dim": [each // _HEAD for each in channels] if linear else 8,
        "use_linear_projection": linear,
    }


def _depth(state: State, block: str) -> int:
    depth = 0
    while f"{block}.transformer_blocks.{depth}.norm1.weight" in state:
        depth += 1
    return depth


def text_time_settings(state: State) -> dict[str, Any]:
    """What XL's UNet has besides: it is told a second text encoder's summary and the picture's size."""
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": _TIME_NUMBERS,
        "projection_class_embeddings_input_dim": state["label_emb.0.0.weight"].shape[1],
    }


def unet(state: State, settings: Mapping[str, Any]) -> UNet2DConditionModel:
    """Raises KeyError if it is not whole, and Misfit if it is of another make."""
    named = {UNET + name: tensor for name, tensor in state.items()}
    converted = convert_ldm_unet_checkpoint(named, settings)
    taken = {id(tensor) for tensor in converted.values()}
    if left := sorted(name for name, tensor in state.items() if id(tensor) not in taken):
        raise Unread(left[0])
    with torch.device("meta"):
        model = UNet2DConditionModel.from_config(settings)
    return filled(model, converted)


def vae_settings(state: State) -> dict[str, Any]:
    """The configuration of a VAE, but for the size of its pictures and the scale of its latents."""
    channels: list[int] = []
    layers = 0
    while f"encoder.down.{len(channels)}.block.0.conv2.weight" in state:
        channels.append(len(state[f"encoder.down.{len(channels)}.block.0.conv2.weight"]))
    while f"encoder.down.0.block.{layers}.conv2.weight" in state:
        layers += 1
    return {
        "latent_channels": len(state["post_quant_conv.weight"]),
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "layers_per_block": layers,
    }


def vae(state: State, settings: Mapping[str, Any]) -> AutoencoderKL:
    """Raises KeyError if it is not whole, and Misfit if it is of another make."""
    with torch.device("meta"):
        model = AutoencoderKL.from_config(settings)
    return filled(model, convert_ldm_vae_checkpoint(state, settings))


def clip_settings(state: State) -> CLIPTextConfig:
    """The configuration of OpenAI's CLIP text encoder, as transformers names its parts."""
    state = _plainly_named(state)
    width = state["embeddings.token_embedding.weight"].shape[1]
    return CLIPTextConfig(
        vocab_size=len(state["embeddings.token_embedding.weight"]),
        hidden_size=width,
        intermediate_size=len(state[f"{_LAYER}0.mlp.fc1.weight"]),
        num_hidden_layers=1 + _last(state, _LAYER),
        num_attention_heads=width // _HEAD,
        max_position_embeddings=len(state["embeddings.position_embedding.weight"]),
        projection_dim=width,
        hidden_act="quick_gelu",
    )


def clip(state: State, settings: CLIPTextConfig) -> CLIPTextModel:
    """Raises KeyError if it is not whole, and Misfit if it is of another make."""
    return _named_as(_empty(CLIPTextModel, settings), state)


def open_clip_settings(state: State, projected: bool = False) -> CLIPTextConfig:
    """That of OpenCLIP's text encoder; without its last block where what comes before it is all that is read.

    projected: with the last block, and the projection of what it sums up, as XL reads both.
    """
    width = state["token_embedding.weight"].shape[1]
    return CLIPTextConfig(
        vocab_size=len(state["token_embedding.weight"]),
        hidden_size=width,
        intermediate_size=len(state[f"{_BLOCK}0.mlp.c_fc.weight"]),
        num_hidden_layers=_last(state, _BLOCK) + projected,
        num_attention_heads=width // _HEAD,
        max_position_embeddings=len(state["positional_embedding"]),
        projection_dim=state["text_projection"].shape[1] if projected else width,
        hidden_act="gelu",
    )


def open_clip(
    state: State, settings: CLIPTextConfig, projected: bool = False
) -> CLIPTextModel | CLIPTextModelWithProjection:
    """See `open_clip_settings`. Raises KeyError if it is not whole, and Misfit if it is of another make."""
    model = _empty(CLIPTextModelWithProjection if projected else CLIPTextModel, settings)
    if not projected:
        unread = (f"{_BLOCK}{settings.num_hidden_layers}.", "text_projection")
        state = {name: tensor for name, tensor in state.items() if not name.startswith(unread)}
    return _named_as(model, convert_open_clip_checkpoint(model, state, ""))


def _last(state: State, blocks: str) -> int:
    """The number of the last of the numbered blocks whose names begin with `blocks`."""
    return max((int(name.removeprefix(blocks).split(".")[0]) for name in state if name.startswith(blocks)), default=0)


def _plainly_named(state: State) -> dict[str, Tensor]:
    return {name.removeprefix(_TEXT): tensor for name, tensor in state.items()}


def _named_as(model: Any, state: State) -> Any:
    """`model` filled, whether its names have the prefix: those of transformers 5.6 have it in one class alone."""
    plain = _plainly_named(state)
    if hasattr(model, _TEXT.removesuffix(".")):
        plain = {name if name == _PROJECTION else _TEXT + name: tensor for name, tensor in plain.items()}
    return filled(model, plain)


def _empty(kind: Any, settings: CLIPTextConfig) -> Any:
    with torch.device("meta"):
        model = kind(settings)
    for module in model.modules():
        if hasattr(module, _POSITIONS):  # which are no weights, so that nothing fills them
            setattr(module, _POSITIONS, torch.arange(settings.max_position_embeddings)[None])
    return model
