"""Volume rendering by emission and absorption, only where there is something.

Rays are cut to the unit sphere and sampled at a fixed step with one random offset per ray; samples
in empty cells of the occupancy grid are never shown to the field, and those behind what is opaque have no part in a
gradient. The rest is kept packed, ray after ray, as in nerfacc.

Letters: B views, P pixels of a view, R rays, n kept samples, c colour channels, G occupancy cells per axis,
w rendering weights: the share of a ray's light that a sample sends.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backend.engine.cameras import Cameras
from backend.engine.fields import BOUND, Field
from backend.engine.occupancy import Occupancy

POINTS_AT_ONCE = 1 << 18
"""Looked up together where no gradient is wanted: for each, a hash grid looks at the corners of sixteen cells."""

POINTS_KEPT = 1 << 20
"""With a gradient, what looking at more points takes is not kept for it, but made anew, so many at once as above."""

HIDDEN = 2.0**-24
"""Samples of which no more light comes through have no part in a gradient: it is lost in rounding beside 1."""


@dataclass(frozen=True)
class Samples:
    """Kept samples, ordered by ray and then by distance. ray: which ray; points: (n, 3) in the cube."""

    ray: Int[Tensor, " n"]
    distance: Float[Tensor, " n"]
    points: Float[Tensor, "n 3"]


@dataclass(frozen=True)
class Rendering:
    """What B views of a field look like, colours premultiplied by opacity.

    depth: expected distance along the ray times opacity. samples, weights and the directions of all
    rays: what it was made from.
    """

    colour: Float[Tensor, "B c H W"]
    opacity: Float[Tensor, "B H W"]
    depth: Float[Tensor, "B H W"]
    samples: Samples
    weights: Float[Tensor, " n"]
    directions: Float[Tensor, "R 3"]

    def only(self, views: Bool[Tensor, " B"]) -> "Rendering":
        """As if no light came from the other views' samples."""
        _, height, width = self.opacity.shape
        kept = views[self.samples.ray // (height * width)]
        return replace(self, weights=self.weights.where(kept, 0.0))


def march(
    origins: Float[Tensor, "R 3"],
    directions: Float[Tensor, "R 3"],
    occupancy: Occupancy,
    step: float,
    offset: Float[Tensor, " R"],
) -> Samples:
    """Samples every `step` metres through the unit sphere, from `offset` steps on, where `occupancy` says so."""
    toward = (origins * directions).sum(-1)
    gap = toward.square() - origins.square().sum(-1) + 1
    ray = (gap > 0).nonzero()[:, 0]
    half = gap[ray].sqrt()
    near = -toward[ray] - half
    start, along = origins[ray] + near[:, None] * directions[ray], directions[ray] * step
    index = torch.arange(int(2 / step) + 1, device=ray.device) + offset[ray, None]

    size = len(occupancy.cells)
    cell = torch.zeros(index.shape, dtype=torch.int32, device=ray.device)
    for axis in range(3):  # one coordinate at a time: the points themselves are needed for kept samples only
        coordinate = start[:, axis, None] + index * along[:, axis, None]
        cell = cell * size + ((coordinate + BOUND) * (size / (2 * BOUND))).to(torch.int32).clamp_(0, size - 1)
    keep = occupancy.cells.flatten()[cell] & (index * step < 2 * half[:, None])

    kept = keep.flatten().nonzero()[:, 0]
    row, index = kept // index.shape[1], index.flatten()[kept]
    return Samples(ray[row], near[row] + index * step, start[row] + index[:, None] * along[row])


def render_weights(density: Float[Tensor, " n"], ray: Int[Tensor, " n"], step: float) -> Float[Tensor, " n"]:
    """w_i = T_i (1 - exp(-sigma_i step)) with the transmittance T_i (NeRF, eq. 3).

    Weights are at least 0 and sum to at most 1 per ray. `ray` must not decrease.
    """
    return transmittance(density, ray, step) * -torch.expm1(-density * step)


def transmittance(density: Float[Tensor, " n"], ray: Int[Tensor, " n"], step: float) -> Float[Tensor, " n"]:
    """T_i = exp(-sum_{j < i} sigma_j step) over the same ray: the share of a sample's light that comes through."""
    if density.device.type == "mps":  # which has no double precision
        return transmittance(density.cpu(), ray.cpu(), step).to(density.device)
    # In double precision: the sum runs over all rays, and each ray takes the difference to its own start.
    thickness = (density * step).double()
    passed = thickness.cumsum(0) - thickness
    first = torch.searchsorted(ray, ray)
    return torch.exp(-(passed - passed[first])).to(density.dtype)


def stratified(views: int, size: int, generator: torch.Generator) -> Float[Tensor, "B P"]:
    """Random offsets in [0, 1) for the rays of size x size pixels per view."""
    return torch.rand(views, size * size, generator=generator, device=generator.device)


def render(
    field: Field,
    cameras: Cameras,
    size: int,
    occupancy: Occupancy,
    step: float,
    offsets: Float[Tensor, "B P"] | None = None,
) -> Rendering:
    """Render size x size pixels per camera with samples every `step` metres; differentiable in the field.

    offsets: of the samples of each ray, in steps; `stratified`, or in the middle of their strata without.
    """
    origins, directions = cameras.rays(size, size)
    views = len(origins)
    count = views * size * size
    offset = torch.full((count,), 0.5, device=origins.device) if offsets is None else offsets.flatten()
    directions = directions.reshape(-1, 3)
    samples = march(origins.repeat_interleave(size * size, dim=0), directions, occupancy, step, offset)
    if torch.is_grad_enabled():
        samples = _seen(field, samples, step)
    found = looked_up(partial(_density_beside_colour, field), samples.points)
    weights = render_weights(found[:, 0], samples.ray, step)
    values = torch.cat([found[:, 1:], torch.ones_like(weights)[:, None], samples.distance[:, None]], dim=-1)
    pixels = weights.new_zeros(count, values.shape[-1]).index_add(0, samples.ray, weights[:, None] * values)
    image = pixels.reshape(views, size, size, -1).permute(0, 3, 1, 2)
    return Rendering(image[:, :-2], image[:, -2], image[:, -1], samples, weights, directions)


@torch.no_grad()
def _seen(field: Field, samples: Samples, step: float) -> Samples:
    """Those that are not behind what is opaque: of an object, most of its inside is."""
    density = looked_up(field.density, samples.points)
    # Written so that what is not a number is seen: it must not vanish from sight.
    kept = (~(transmittance(density, samples.ray, step) <= HIDDEN)).nonzero()[:, 0]
    return Samples(samples.ray[kept], samples.distance[kept], samples.points[kept])


def _density_beside_colour(field: Field, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n k"]:
    density, colour = field.density_and_colour(points)
    return torch.cat([density[:, None], colour], dim=-1)


def looked_up(look: Callable[[Tensor], Tensor], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n *k"]:
    """What `look` says of the points, in bounded memory: of many, only some at a time."""
    if torch.is_grad_enabled():
        if len(points) <= POINTS_KEPT:
            return look(points)
        look = partial(checkpoint, look, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([look(some) for some in points.split(POINTS_AT_ONCE)])
