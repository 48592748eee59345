"""Colours and surface patterns: what an object is made of, as far as a caption tells."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Rgb = tuple[float, float, float]

COLOURS: dict[str, Rgb] = {
    "red": (0.85, 0.08, 0.08),
    "orange": (0.96, 0.48, 0.05),
    "yellow": (0.97, 0.86, 0.10),
    "green": (0.12, 0.58, 0.16),
    "turquoise": (0.12, 0.76, 0.74),
    "blue": (0.10, 0.22, 0.82),
    "purple": (0.48, 0.12, 0.66),
    "pink": (0.97, 0.50, 0.72),
    "brown": (0.40, 0.22, 0.10),
    "white": (0.95, 0.95, 0.95),
    "gray": (0.50, 0.50, 0.50),
    "black": (0.07, 0.07, 0.07),
}

# What parts have by themselves, whatever a caption names.
IVORY: Rgb = (0.93, 0.90, 0.80)
WOOD: Rgb = (0.45, 0.28, 0.14)
STEEL: Rgb = (0.62, 0.64, 0.67)
IRON: Rgb = (0.22, 0.22, 0.25)
COAL: Rgb = (0.06, 0.06, 0.07)
CARROT: Rgb = (0.95, 0.50, 0.05)
GLASS: Rgb = (0.55, 0.78, 0.92)
LIGHT: Rgb = (1.00, 0.95, 0.65)

_LUMINANCE = (0.2126, 0.7152, 0.0722)


def contrast(colour: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
    """The second colour of a pattern: black on bright colours, white on the others."""
    bright = colour @ colour.new_tensor(_LUMINANCE) > 0.6
    return torch.where(bright[:, None], colour.new_tensor(COLOURS["black"]), colour.new_tensor(COLOURS["white"]))


def _striped(p: Tensor) -> Tensor:
    return (p[..., 2] / 0.44 + 0.25) % 1 < 0.5


def _spotted(p: Tensor) -> Tensor:
    spacing = 0.46
    # A body-centred lattice of balls: wherever the surface runs it cuts some of them.
    near = [((p / spacing + shift + 0.5) % 1 - 0.5).square().sum(-1) for shift in (0.0, 0.5)]
    return torch.minimum(near[0], near[1]) < 0.3**2


def _checkered(p: Tensor) -> Tensor:
    return torch.floor(p / 0.36 + 0.5).sum(-1) % 2 == 0


PATTERNS: dict[str, Callable[[Float[Tensor, "*n 3"]], Bool[Tensor, "*n"]]] = {
    "striped": _striped,
    "spotted": _spotted,
    "checkered": _checkered,
}
"""For each pattern, which points of the surface have the second colour."""
