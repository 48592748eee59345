"""Checkpoints in one file, as the web interfaces of Stable Diffusion keep them: what one holds, by its header alone.

Nothing here imports torch or reads a weight, so that whole folders are looked through in a moment.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from backend.errors import UserError
from backend.guidance import weights

Kind = Literal["Stable Diffusion 1.x", "Stable Diffusion 2.x", "Stable Diffusion XL", "MVDream"]
_UNET = "model.diffusion_model."
_FIRST = f"{_UNET}input_blocks.0.0.weight"
_VAE = "first_stage_model.encoder.conv_in.weight"
_SECOND_READER = "conditioner.embedders.1.model."
_READERS: dict[str, Kind] = {
    _SECOND_READER: "Stable Diffusion XL",
    "cond_stage_model.transformer.": "Stable Diffusion 1.x",
    "cond_stage_model.model.": "Stable Diffusion 2.x",
}
"""The text encoders, by which kinds are told apart."""

_LATENT_CHANNELS = 4
_MORE_CHANNELS = {
    5: "a model that is told of depth",
    7: "an upscaler",
    8: "a model that edits pictures, or makes videos of them",
    9: "an inpainting model",
}

_OTHERS = {
    r"\blora_|[._]lora[._AB]|\.(hada_w|lokr_w|oft_)": "a LoRA, which only changes a model",
    r"^control_model\.|^controlnet_|^input_hint_block\.": "a ControlNet",
    r"\bmotion_modules\.": "a motion module for AnimateDiff",
    r"\bjoint_blocks\.": "Stable Diffusion 3, a transformer",
    r"\bdouble_blocks\.": "Flux or its like, a transformer",
    r"^edm_mean$": "Playground 2.5, whose noise schedule is another",
    r"\btime_stack\.": "a model of videos",
    r"^conditioner\.embedders\.0\.model\.": "the refiner of XL, which needs pictures to begin with",
    r"^(ip_adapter|image_proj)\.": "an IP-Adapter",
    r"^(emb_params|string_to_param|clip_[lg])$": "a textual inversion, a word for a model",
}
"""What is refused, UNet or not, by what one of its tensors is called; the first that fits."""

_FRAGMENTS = {
    rf"^{re.escape(_UNET)}": "a transformer",
    r"^(first_stage_model|encoder\.(conv_in|down)|decoder\.(conv_in|mid|up))": "a VAE alone",
    r"^(down_blocks|mid_block|up_blocks)\.": "a UNet alone, in diffusers' layout",
    r"^(input_blocks|middle_block|output_blocks)\.": "a UNet alone",
    r"^(text_model|transformer\.resblocks|cond_stage_model|encoder\.block|text_encoders?)\.": "a text encoder alone",
    r"^(conv_first|model\.0|model\.1\.sub|body\.0)\.": "an upscaler of pictures",
}
"""The same where there is no UNet of the kind that is understood."""


def kind_of(path: Path) -> Kind:
    """The kind of the model in a file. Raises UserError, which says what else is in it."""
    if weights.is_pickle(path.name):
        raise UserError(f"{path} is a pickle, which can run code when opened; take a safetensors copy of it")
    try:
        with safe_open(path, "numpy") as file:
            return _kind(path, list(file.keys()), lambda name: file.get_slice(name).get_shape())
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} ({error}); fetch it again") from error


def _kind(path: Path, names: list[str], shape: Callable[[str], list[int]]) -> Kind:
    if any(name.endswith("camera_embed.0.weight") for name in names):
        return "MVDream"
    kind = next((kind for reader, kind in _READERS.items() if any(name.startswith(reader) for name in names)), None)
    if what := _matching(_OTHERS, names):
        raise _refused(path, what)
    if _FIRST not in names:
        raise _refused(path, _matching(_FRAGMENTS, names) or "of a kind that is not known here")
    if (channels := shape(_FIRST)[1]) != _LATENT_CHANNELS:
        raise _refused(path, _MORE_CHANNELS.get(channels, f"a model of {channels} channels"))
    if kind is None:
        raise _refused(path, "without its text encoder")
    if _VAE not in names:
        raise _refused(path, "without its VAE")
    if kind != "Stable Diffusion XL" and any(name.startswith(f"{_UNET}label_emb.") for name in names):
        raise _refused(path, "a model that is shown pictures, or an upscaler")
    return kind


def _matching(table: dict[str, str], names: list[str]) -> str | None:
    for pattern, what in table.items():
        if any(re.search(pattern, name) for name in names):
            return what
    return None


def _refused(path: Path, what: str) -> UserError:
    return UserError(f"{path} is {what}; take a whole checkpoint of Stable Diffusion 1.x, 2.x or XL")


def metadata(path: Path) -> dict[str, str]:
    """What the file's author wrote into its header."""
    with safe_open(path, "numpy") as file:
        return file.metadata() or {}
