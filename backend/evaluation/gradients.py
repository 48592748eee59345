"""What a diffusion model wants changed, by timestep: pictures of the gradient, and how fine it is.

The paper's ground: large t lays out, small t draws detail. Letters: B images, H x W pixels, k timesteps.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from backend.engine import distillation, schedules
from backend.engine.randomness import generator
from backend.engine.rules.sds import sds
from backend.engine.rules.step import Step
from backend.errors import UserError
from backend.evaluation.images import from_the_front, wishes
from backend.guidance.diffusion import DiffusionGuidance

FILE = "gradients.safetensors"

TIMESTEPS = (900, 800, 700, 600, 500, 400, 300, 200, 100)
"""Stable Diffusion's; a model gets those of equal signal-to-noise ratio, as in its schedules."""

SHOWN = (900, 500, 100)
"""Those of which there are pictures."""

NOISES = 32


@dataclass(frozen=True)
class Gradients:
    """What is wanted of an image, for one prompt, in the mean over noises.

    pictures: the gradient by the pixels of `image` at each of SHOWN. centroid: its mean spatial frequency at each of
    TIMESTEPS in cycles per pixel, weighted by power: 0 is flat, 0.5 alternates from pixel to pixel. share_high: the
    share of its power above a quarter of a cycle per pixel.
    """

    prompt: str
    image: Float[Tensor, "3 H W"]
    pictures: Float[Tensor, "3 3 H W"]
    centroid: tuple[float, ...]
    share_high: tuple[float, ...]


def gradients(guidance: DiffusionGuidance, prompt: str, image: Float[Tensor, "1 3 H W"], cfg: float) -> Gradients:
    """The mean over noises of the SDS gradient (weight one) at `image` in [0, 1]."""
    asked, views = wishes(guidance, prompt, NOISES), from_the_front(guidance, NOISES)
    own = schedules.translated(torch.tensor(TIMESTEPS, dtype=torch.float64), guidance.abar, guidance.schedule_size)
    halves = []
    for t in own:
        pixels = image.to(guidance.device).expand(NOISES, -1, -1, -1).clone().requires_grad_()
        clean = guidance.model_space(pixels)
        draws = partial(generator, 0, t, device=guidance.device)
        noise = torch.randn(clean.shape, generator=draws("noise"), device=guidance.device)
        step = Step(guidance, clean.detach(), noise, t, asked, views, cfg, draws)
        wanted = distillation.gradient(step, sds, "one")
        (slope,) = torch.autograd.grad(distillation.surrogate(clean, wanted), pixels)
        halves.append(slope.unflatten(0, (2, -1)).mean(1).cpu())
    spectra = [spectrum(first, second) for first, second in halves]
    shown = [halves[TIMESTEPS.index(t)].mean(0) for t in SHOWN]
    return Gradients(prompt, image[0].cpu(), torch.stack(shown), *zip(*spectra, strict=True))


def spectrum(first: Float[Tensor, "3 H W"], second: Float[Tensor, "3 H W"]) -> tuple[float, float]:
    """Power-weighted mean spatial frequency, in cycles per pixel, and the share of power above 1/4 of a cycle.

    Of what two estimates of a picture have in common: the noise in them, which is independent, would count as detail.
    The mean colour, which has no frequency, is left out.
    """
    one, other = (np.fft.fft2(picture.double().numpy()) for picture in (first, second))
    power = (one * other.conj()).real.sum(0)
    power[0, 0] = 0
    rows, columns = (np.fft.fftfreq(size) for size in power.shape)
    frequency = np.hypot(rows[:, None], columns[None])
    total = power.sum()
    return float((power * frequency).sum() / total), float(power[frequency > 0.25].sum() / total)


def save(found: Sequence[Gradients], path: Path, facts: Mapping[str, Any]) -> None:
    """Keep them for the report, with the facts they depend on."""
    figures = [{name: getattr(one, name) for name in ("prompt", "centroid", "share_high")} for one in found]
    tensors = {
        "image": torch.stack([one.image for one in found]).half(),
        "pictures": torch.stack([one.pictures for one in found]).half(),
    }
    save_file(tensors, path, {"figures": json.dumps(figures), "facts": json.dumps(facts)})


def facts_of(path: Path) -> dict[str, Any]:
    """What the gradients that were kept depend on; nothing if there are none. Raises UserError as `load` does."""
    return dict(_told(path, "facts")) if path.exists() else {}


def load(path: Path) -> list[Gradients]:
    """Those that were kept, or none. Raises UserError if an older version kept them."""
    if not path.exists():
        return []
    figures = _told(path, "figures")
    with safe_open(path, "pt") as file:
        images, pictures = (file.get_tensor(name).float() for name in ("image", "pictures"))
    return [
        Gradients(one["prompt"], image, shown, tuple(one["centroid"]), tuple(one["share_high"]))
        for one, image, shown in zip(figures, images, pictures, strict=True)
    ]


def _told(path: Path, what: str) -> Any:
    with safe_open(path, "pt") as file:
        told = file.metadata() or {}
    if not {"facts", "figures"} <= told.keys():
        raise UserError(f"{path} is of an older version: delete it, or name another --out")
    return json.loads(told[what])
