"""A picture of the object that is to be made, and the camera it is seen from (Make-it-3D, arXiv 2303.14184).

Letters: N pixels of the picture a side, c = 3 colour channels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.rendering import Rendering


@dataclass(frozen=True)
class Pictured:
    """What a picture shows, colours premultiplied by opacity."""

    colour: Float[Tensor, "1 3 H W"]
    opacity: Float[Tensor, "1 H W"]


@dataclass(frozen=True)
class Reference:
    """opacity: of the object in the picture. colour: premultiplied, or None where the outline alone counts.

    camera: a batch of one.
    """

    camera: Cameras
    opacity: Float[Tensor, "N N"]
    colour: Float[Tensor, "3 N N"] | None = None

    def to(self, device: torch.device) -> "Reference":
        """The same, with its numbers on `device`."""
        colour = None if self.colour is None else self.colour.to(device)
        return Reference(self.camera.to(device), self.opacity.to(device), colour)

    def shown(self, size: int) -> Float[Tensor, "{size} {size}"]:
        """Its opacity in size x size pixels."""
        return _scaled(self.opacity[None], size)[0]

    def pictured(self, size: int) -> "Pictured":
        """The object in size x size pixels, as a batch of one; black where the outline alone counts."""
        opacity = self.shown(size)[None]
        colour = opacity.new_zeros(3, size, size) if self.colour is None else _scaled(self.colour, size)
        return Pictured(colour[None], opacity)

    def terms(self, rendering: Rendering) -> dict[str, Float[Tensor, ""]]:
        """How far `rendering`, from this camera, is from the picture: half of squared differences, summed."""
        size = rendering.opacity.shape[-1]
        found = {"silhouette": _apart(rendering.opacity[0][None], self.opacity[None], size)}
        if self.colour is not None:
            found["colour"] = _apart(rendering.colour[0], self.colour, size)
        return found


def _apart(seen: Float[Tensor, "k H W"], wanted: Float[Tensor, "k N N"], size: int) -> Float[Tensor, ""]:
    return (seen - _scaled(wanted, size)).square().sum() / 2


def _scaled(layers: Float[Tensor, "k N N"], size: int) -> Float[Tensor, "k {size} {size}"]:
    return torch.nn.functional.interpolate(layers[None], (size, size), mode="bilinear", antialias=True)[0]
