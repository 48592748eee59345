"""A picture of the object that is to be made, and the camera it is seen from (Make-it-3D, arXiv 2303.14184).

Letters: N pixels of the picture a side, M with a border, c = 3 colour channels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.rendering import Rendering

_SIZES = torch.linspace(0.4, 1.2, 41)
"""Of a picture that is fitted, as shares of what it is."""


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

    def bordered(self, border: int) -> "Reference":
        """With so many empty pixels more on each side, or fewer, if below 0: the camera sees a smaller object, or a
        larger one.
        """
        colour = None if self.colour is None else _bordered(self.colour, border)
        return Reference(self.camera, _bordered(self.opacity, border), colour)

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


class Portrait:
    """A picture to keep to, which does not say how large its object is: a fox from ahead fills it as a ball does.

    By the first time that it is kept to, the words have made something. From then on the picture is as large as has
    most in common with that.
    """

    def __init__(self, reference: Reference) -> None:
        self._given = reference
        self._placed: Reference | None = None

    @property
    def camera(self) -> Cameras:
        """A batch of one."""
        return self._given.camera

    @property
    def reference(self) -> Reference:
        """The picture, as large as the object, if that was seen."""
        return self._placed or self._given

    def terms(self, rendering: Rendering) -> dict[str, Float[Tensor, ""]]:
        """See `Reference.terms`."""
        if self._placed is None:
            self._placed = self._given.bordered(_best_border(self._given, rendering.opacity[0].detach()))
        return self._placed.terms(rendering)

    def state(self) -> dict[str, Tensor]:
        """All that it has become."""
        if self._placed is None:
            return {}
        return {"border": torch.tensor((len(self._placed.opacity) - len(self._given.opacity)) // 2)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Be as the portrait was that had `state`."""
        self._placed = self._given.bordered(int(state["border"])) if state else None


def _best_border(picture: Reference, seen: Float[Tensor, "H W"]) -> int:
    """With which the picture's opacity has most in common with `seen`, of all that either has."""
    seen, native = seen.nan_to_num(), len(picture.opacity)
    borders = [round(native * (1 / size - 1) / 2) for size in _SIZES.tolist()]
    wanted = torch.stack([picture.bordered(border).shown(len(seen)) for border in borders])
    common = torch.minimum(wanted, seen).sum((1, 2)) / torch.maximum(wanted, seen).sum((1, 2))
    return borders[int(common.argmax())]


def _bordered(layers: Float[Tensor, "*k N N"], border: int) -> Float[Tensor, "*k M M"]:
    return torch.nn.functional.pad(layers, 4 * (border,))


def _apart(seen: Float[Tensor, "k H W"], wanted: Float[Tensor, "k N N"], size: int) -> Float[Tensor, ""]:
    return (seen - _scaled(wanted, size)).square().sum() / 2


def _scaled(layers: Float[Tensor, "k N N"], size: int) -> Float[Tensor, "k {size} {size}"]:
    return torch.nn.functional.interpolate(layers[None], (size, size), mode="bilinear", antialias=True)[0]
