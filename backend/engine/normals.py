"""Normals of a field's visible surface, for light and for what is asked of it.

Letters: B views, n samples of a rendering, m of them at the surface.
"""

from dataclasses import dataclass
from functools import cache, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.engine.fields import DistanceField, Field
from backend.engine.rendering import Rendering, looked_up

VISIBLE = 0.01
"""Samples that send a smaller share of their ray's light have no say in the normals."""

REACH = 0.04
"""Metres: how far around a place its normal is measured."""


@dataclass(frozen=True)
class Surface:
    """The samples that are seen. index: which of the rendering's; normals: unit vectors towards falling density."""

    index: Int[Tensor, " m"]
    normals: Float[Tensor, "m 3"]


def surface(field: Field, rendering: Rendering) -> Surface:
    """Where the light of `rendering` comes from. Differentiable in the field."""
    index = (rendering.weights.detach() > VISIBLE).nonzero()[:, 0]
    return Surface(index, normals_at(field, rendering.samples.points[index]))


def normals_at(field: Field, points: Float[Tensor, "m 3"]) -> Float[Tensor, "m 3"]:
    """Towards where there is less: by differences of depth over a tetrahedron of size REACH."""
    corners = _corners(points.device)
    depth = looked_up(partial(_depth, field), (points + REACH * corners[:, None]).flatten(0, 1)).unflatten(0, (4, -1))
    rise = torch.einsum("km,kd->md", depth, corners)
    return -torch.nn.functional.normalize(rise, dim=-1)


@cache
def _corners(device: torch.device) -> Float[Tensor, "4 3"]:
    """Of a tetrahedron; sent once, as a GPU is waited for."""
    return torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, 1.0, 1.0]], device=device)


def _depth(field: Field, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """What rises inwards: a distance's opposite, or density in logarithms, which do not overflow in dense matter."""
    if isinstance(field, DistanceField):
        return -field.distance(points)
    return torch.log(field.density(points) + 1e-6)


def normal_image(rendering: Rendering, surface: Surface) -> Float[Tensor, "B H W 3"]:
    """The mean normal of what each pixel shows, unit length; zero where it shows nothing."""
    views, height, width = rendering.opacity.shape
    weighted = rendering.weights[surface.index, None] * surface.normals
    summed = weighted.new_zeros(views * height * width, 3).index_add(0, rendering.samples.ray[surface.index], weighted)
    return torch.nn.functional.normalize(summed, dim=-1, eps=1e-3).reshape(views, height, width, 3)
