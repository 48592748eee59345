"""Models that are read from a checkpoint in one file, where it is.

Their folders have diffusers' configurations and tokenizers, and a link to the file, whose names are converted each time
that it is read: that takes a moment, and no gigabytes.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextConfig

from backend.guidance import clip_tokenizer, folders, ldm, parameterisation, single_file
from backend.guidance.folders import Prediction
from backend.guidance.quiet import quiet
from backend.guidance.single_file import Kind
from backend.guidance.text import TextEncoder

_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
_XL_CLIP, _XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_XL: Kind = "Stable Diffusion XL"
_XL_LATENT_SCALE = 0.13025

_SIZES: dict[tuple[Kind, Prediction], int] = {
    ("Stable Diffusion 1.x", "epsilon"): 64,
    ("Stable Diffusion 1.x", "v_prediction"): 64,
    ("Stable Diffusion 2.x", "epsilon"): 64,
    ("Stable Diffusion 2.x", "v_prediction"): 96,
    (_XL, "epsilon"): 128,
    (_XL, "v_prediction"): 128,
}
"""Latents a side of the pictures that a model was taught. Those of 2.x that predict v were taught larger ones."""

_CLASSES = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
}


def write(path: Path, target: Path) -> None:
    """Make the new folder `target` for the model in the file `path`, as far as it comes.

    Raises UserError if it is not whole, or cannot be written.
    """
    kind = single_file.kind_of(path)
    with ldm.explained(path, f"{kind} model"), quiet():
        state = load_file(path)
        modules = _modules(kind, state, _settings(kind, state))
        target.mkdir(parents=True)
        for part, pad in _pads(kind).items():
            clip_tokenizer.write(target / part, pad)
        prediction = parameterisation.stated(path, state) or _tried(kind, modules, target)
        zero_snr = parameterisation.ZERO_SNR_MARK in state
        ldm.noise(prediction, zero_snr).save_pretrained(target / "scheduler")
        latents = _SIZES[kind, prediction]
        modules["unet"].register_to_config(sample_size=latents)
        halvings = len(modules["vae"].config.block_out_channels) - 1
        modules["vae"].register_to_config(sample_size=latents * 2**halvings)
        for part in ("unet", "vae"):
            modules[part].save_config(target / part)
        for part in _text_parts(kind):
            modules[part].config.save_pretrained(target / part)
        _link(path, target / folders.CHECKPOINT)
        index = {part: _CLASSES[part] for part in (*modules, *_pads(kind), "scheduler")}
        (target / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The modules of the model in `folder`, by part, in the precision that the file has. Raises UserError."""
    path = folders.checkpoint(folder)
    if path is None:
        raise ValueError(f"{folder} has no checkpoint")
    kind = single_file.kind_of(path)
    settings = {
        "unet": UNet2DConditionModel.load_config(folder / "unet"),
        "vae": AutoencoderKL.load_config(folder / "vae"),
        **{part: CLIPTextConfig.from_pretrained(folder / part) for part in _text_parts(kind)},
    }
    with ldm.explained(path, f"{kind} model"):
        return _modules(kind, load_file(path), settings)


def _text_parts(kind: Kind) -> tuple[str, ...]:
    return ("text_encoder", "text_encoder_2") if kind == _XL else ("text_encoder",)


def _pads(kind: Kind) -> dict[str, str]:
    """What fills the room after a text, by tokenizer."""
    first = clip_tokenizer.OPEN_CLIP_PAD if kind == "Stable Diffusion 2.x" else clip_tokenizer.CLIP_PAD
    return {"tokenizer": first} | ({"tokenizer_2": clip_tokenizer.OPEN_CLIP_PAD} if kind == _XL else {})


def _settings(kind: Kind, state: ldm.State) -> dict[str, Any]:
    """The configurations of the parts but for sizes, read off the shapes."""
    unet, vae = ldm.without(ldm.UNET, state), ldm.without(ldm.VAE, state)
    scale = _XL_LATENT_SCALE if kind == _XL else ldm.LATENT_SCALE
    settings = {"unet": ldm.unet_settings(unet), "vae": {**ldm.vae_settings(vae), "scaling_factor": scale}}
    match kind:
        case "Stable Diffusion 2.x":
            settings["text_encoder"] = ldm.open_clip_settings(ldm.without(_OPEN_CLIP, state))
        case "Stable Diffusion XL":
            settings["unet"] |= ldm.text_time_settings(unet)
            settings["text_encoder"] = ldm.clip_settings(ldm.without(_XL_CLIP, state))
            settings["text_encoder_2"] = ldm.open_clip_settings(ldm.without(_XL_OPEN_CLIP, state), projected=True)
        case _:
            settings["text_encoder"] = ldm.clip_settings(ldm.without(_CLIP, state))
    return settings


def _modules(kind: Kind, state: ldm.State, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parts with their weights. Raises KeyError and Misfit."""
    modules = {
        "unet": ldm.unet(ldm.without(ldm.UNET, state), settings["unet"]),
        "vae": ldm.vae(ldm.without(ldm.VAE, state), settings["vae"]),
    }
    text = settings["text_encoder"]
    match kind:
        case "Stable Diffusion 2.x":
            modules["text_encoder"] = ldm.open_clip(ldm.without(_OPEN_CLIP, state), text)
        case "Stable Diffusion XL":
            second = ldm.without(_XL_OPEN_CLIP, state)
            modules["text_encoder"] = ldm.clip(ldm.without(_XL_CLIP, state), text)
            modules["text_encoder_2"] = ldm.open_clip(second, settings["text_encoder_2"], projected=True)
        case _:
            modules["text_encoder"] = ldm.clip(ldm.without(_CLIP, state), text)
    return modules


def _tried(kind: Kind, modules: Mapping[str, Any], folder: Path) -> Prediction:
    """What a model predicts that does not say it. Those of 2.x are of both kinds; others say so, or predict noise."""
    if kind != "Stable Diffusion 2.x":
        return "epsilon"
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True, trust_remote_code=False)
    text = TextEncoder(tokenizer, modules["text_encoder"].float().eval()).encode([""])
    return parameterisation.tried(modules["unet"].float().eval(), text)


def _link(path: Path, link: Path) -> None:
    """Let `link` be the file too: by another name of it, by a link to it, or, where neither can be made, by a copy."""
    for make in (link.hardlink_to, link.symlink_to):
        with suppress(OSError):
            make(path)
            return
    shutil.copy(path, link)
