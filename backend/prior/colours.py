"""Colours that have a name, how far two colours are apart, and how an object gets another one.

Distances and blends are in Oklab (Bjorn Ottosson, 2020), where equal steps look alike. Display colours are in [0, 1].

Letters: n colours, B images, H x W pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.prior.objects import to_display, to_linear

_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)

_INNER, _OUTER = 0.10, 0.18
"""Oklab distances up to which a pixel is all of the main colour, and from which it is none of it."""

_CELLS = 8

_LIGHTNESS = 0.5
"""What a difference in lightness counts against one in hue: texture and dirt are of the same colour."""


def oklab(display: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Lightness and two opponent colours of display colours."""
    cones = to_linear(display) @ display.new_tensor(_TO_CONES).T
    return cones.clamp(min=0) ** (1 / 3) @ display.new_tensor(_TO_LAB).T


def from_oklab(lab: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Display colours, those that no display shows cut to [0, 1]."""
    cones = (lab @ torch.linalg.inv(lab.new_tensor(_TO_LAB)).T) ** 3
    return to_display((cones @ torch.linalg.inv(lab.new_tensor(_TO_CONES)).T).clamp(0, 1))


@dataclass(frozen=True)
class MainColour:
    """The colour that most of an object has, in Oklab, and the share of its visible surface that has it."""

    lab: Float[Tensor, " 3"]
    share: float

    @classmethod
    def of(cls, lab: Float[Tensor, "n 3"]) -> "MainColour":
        """The densest place among colours, as `near` measures: from the best of a coarse histogram's fullest cells."""
        cells = (lab / _INNER).round()
        _, inverse, counts = cells.unique(dim=0, return_inverse=True, return_counts=True)
        # One colour may lie across several cells: the fullest one need not be in the densest place.
        fullest = counts.topk(min(_CELLS, len(counts))).indices
        places = [lab[inverse == cell].mean(0) for cell in fullest]
        centre = max(places, key=lambda place: near(lab, place).sum().item())
        for _ in range(3):
            weight = near(lab, centre)[:, None]
            centre = (weight * lab).sum(0) / weight.sum().clamp(min=1e-6)
        return cls(centre, near(lab, centre).mean().item())


def near(lab: Float[Tensor, "*n 3"], centre: Float[Tensor, "*m 3"]) -> Float[Tensor, "*n"]:
    """How much each colour is the one at `centre`: 1 within _INNER, 0 from _OUTER on."""
    apart = (lab - centre) * lab.new_tensor((_LIGHTNESS, 1.0, 1.0))
    return ((_OUTER - apart.norm(dim=-1)) / (_OUTER - _INNER)).clamp(0, 1)


def repainted(
    albedo: Float[Tensor, "B H W 3"], main: Float[Tensor, "B 3"], wanted: Float[Tensor, "B 3"]
) -> Float[Tensor, "B H W 3"]:
    """Images whose colour `main` (Oklab) is `wanted` (Oklab) instead; shades of it stay shades."""
    lab = oklab(albedo)
    centre = main[:, None, None]
    return from_oklab(lab + near(lab, centre)[..., None] * (wanted - main)[:, None, None])
