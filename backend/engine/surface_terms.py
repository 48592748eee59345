"""What is asked of a visible surface: that it faces the camera, and that its normals and colours go on evenly.

Letters: R rays, m samples at the surface.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import Field
from backend.engine.normals import Surface, normals_at
from backend.engine.regularisers import orientation, variation
from backend.engine.rendering import Rendering, looked_up

Colour = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n c"]]
"""Colours of points."""

BESIDE = 0.04
"""Metres, along each axis: how far beside a place it is compared with."""


def facing_away(seen: Surface, rendering: Rendering) -> Float[Tensor, ""]:
    """By how much it faces away from the camera; see `orientation`."""
    directions = rendering.directions[rendering.samples.ray[seen.index]]
    return orientation(seen.normals, directions, rendering.weights[seen.index], len(rendering.opacity))


def bending(field: Field, seen: Surface, rendering: Rendering, aside: Float[Tensor, "R 3"]) -> Float[Tensor, ""]:
    """By how much the normals differ: what dents and waves have. aside: normal draws, one for each ray."""
    beside = normals_at(field, _beside(seen, rendering, aside))
    return variation(seen.normals, beside, rendering.weights[seen.index], len(rendering.opacity))


def patches(colour: Colour, seen: Surface, rendering: Rendering, aside: Float[Tensor, "R 3"]) -> Float[Tensor, ""]:
    """By how much the colours differ: what spots have that nothing asked for. aside: normal draws, one for each ray."""
    here = looked_up(colour, rendering.samples.points[seen.index])
    there = looked_up(colour, _beside(seen, rendering, aside))
    return variation(here, there, rendering.weights[seen.index], len(rendering.opacity))


def _beside(seen: Surface, rendering: Rendering, aside: Float[Tensor, "R 3"]) -> Float[Tensor, "m 3"]:
    return rendering.samples.points[seen.index] + BESIDE * aside[rendering.samples.ray[seen.index]]
