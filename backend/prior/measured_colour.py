"""Which colour a picture of one object shows, and how far that is from the colour that a word means.

Letters: H x W pixels.
"""

import torch
from jaxtyping import Bool, Float
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from backend.prior.colours import MainColour, from_oklab, oklab
from backend.prior.materials import COLOURS

_APART = 0.06
"""Oklab distance from the background from which a pixel shows the object."""


def foreground(image: Float[Tensor, "3 H W"]) -> Bool[Tensor, "H W"]:
    """Where an image in [0, 1] shows something else than its plain background, which is what its border shows."""
    lab = oklab(image.permute(1, 2, 0))
    border = torch.cat([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    return (lab - border.median(0).values).norm(dim=-1) > _APART


def shown(image: Float[Tensor, "3 H W"], where: Bool[Tensor, "H W"]) -> Float[Tensor, " 3"]:
    """The display colour that most of an unlit image has in some place; of all of it if that is nowhere."""
    pixels = image.permute(1, 2, 0)
    return from_oklab(MainColour.of(oklab(pixels[where] if where.any() else pixels.flatten(0, 1))).lab)


def difference(colour: Float[Tensor, " 3"], word: str) -> float:
    """CIEDE2000 from a display colour to that of a name in COLOURS: 1 is just visible, 10 is another shade."""
    return float(deltaE_ciede2000(rgb2lab(colour.tolist()), rgb2lab(COLOURS[word])))
