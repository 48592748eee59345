"""Checkpoints of every kind that is read where it lies: their modules, small or of the true sizes, and their names."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from backend.benches import random_models
from backend.benches.random_models import Modules, small
from tests.guidance import ldm_layout as layout
from tests.guidance.ldm_layout import Weights

KINDS = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "Stable Diffusion XL"}


def true_sized(kind: str) -> Modules:
    """Of the published sizes, without numbers."""
    with torch.device("meta"):
        return random_models.true_sized(kind)


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
