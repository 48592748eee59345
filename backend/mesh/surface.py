"""Surface extraction: from a density field to a closed triangle mesh.

Letters: G grid samples per axis, R rays, n samples.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from backend.engine.cameras import Cameras, ring
from backend.engine.fields import BOUND, Field
from backend.engine.occupancy import Occupancy
from backend.engine.reference import Reference
from backend.engine.rendering import POINTS_AT_ONCE, march
from backend.errors import UserError
from backend.mesh.asset import TriangleMesh
from backend.mesh.marching import marching_cubes

_LEVEL_VIEWS = 6
_LEVEL_ELEVATION = 20.0
_LEVEL_PIXELS = 64
_LEVEL_STEP = 2 / 128
_LEVEL_CELLS = 64
_NEGLIGIBLE = 0.02
"""Density that shows nowhere: a whole diameter of it is 4 % opaque."""
_PLATEAU = 0.002
"""Agreements that differ by less are equally good."""
_FULL_SHARE = 0.97
"""Share of rays that meet the surface from which on it fills the scene. A ball may do that; fog, where most rays
are neither clear nor opaque, is no object."""
_CLEAR, _OPAQUE = 0.05, 0.95
_SOFTENING = 0.05
"""Densities well below this share of the level are all alike to the extraction."""
_CLEARANCE = 1e-3
_EMPTY = "nothing is left of the object: try more steps, another seed, or a lower --level"
_FULL = "the object is fog that fills the whole scene: try more steps, another seed, or a higher --level"
_BROKEN = "the field holds values that are not finite: try another seed"
_CUT_BEFORE, _CUT_SLOPE, _CUT_MOST = 0.25, 2.0, 20.0
"""How many cells before the unit sphere things end, by how much the logarithm of the most density there rises a cell
inwards, and up to what.
"""


def find_level(field: Field, device: torch.device, reference: Reference | None = None) -> float:
    """The density whose surface has the silhouettes that volume rendering shows.

    A ray meets {density >= level} exactly where its highest density reaches the level, and shows an
    object where its opacity reaches one half. So one set of rays, from a few fixed views, tells for all
    levels at once how well both masks agree (intersection over union); the middle of the best is
    taken. reference: a picture whose silhouette counts as much as all of those together, and stands for itself.
    Raises UserError if no ray is opaque, if all is fog, or if the field is not finite.
    """
    highest, opacity = _along_rays(field, ring(_LEVEL_VIEWS, _LEVEL_ELEVATION), device)
    met, seen = highest > 0, opacity >= 0.5
    if not seen.any():
        raise UserError(_EMPTY)
    levels, agreement = silhouette_agreement(highest[met], seen[met])
    if reference is not None:
        ahead, _ = _along_rays(field, reference.camera, device)
        shown = reference.shown(_LEVEL_PIXELS).flatten().to(device) >= 0.5
        agreement = agreement + _at(levels, *silhouette_agreement(ahead, shown))
    good = levels[agreement >= agreement.max() - _PLATEAU]
    level = (good.min() * good.max()).sqrt()
    soft = (opacity[met] > _CLEAR) & (opacity[met] < _OPAQUE)
    if (highest[met] >= level).float().mean() >= _FULL_SHARE and soft.float().mean() > 0.5:
        raise UserError(_FULL)
    return level.item()


def silhouette_agreement(
    highest: Float[Tensor, " R"], seen: Bool[Tensor, " R"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Levels, falling, and the intersection over union of `highest >= level` with `seen` for each of them."""
    levels, order = highest.sort(descending=True)
    common = seen[order].double().cumsum(0)
    covered = torch.arange(1, len(levels) + 1, device=levels.device)
    return levels, (common / (covered + seen.sum() - common)).to(levels.dtype)


def _at(
    wanted: Float[Tensor, " n"], levels: Float[Tensor, " R"], agreement: Float[Tensor, " R"]
) -> Float[Tensor, " n"]:
    """The agreement at the `wanted` levels, of falling `levels`."""
    last = torch.searchsorted(-levels, -wanted, right=True) - 1
    return torch.where(last >= 0, agreement[last.clamp(min=0)], 0.0)


def _along_rays(
    field: Field, cameras: Cameras, device: torch.device
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Highest density and opacity of the rays of all views."""
    origins, directions = (rays.to(device) for rays in cameras.rays(_LEVEL_PIXELS, _LEVEL_PIXELS))
    count = directions[..., 0].numel()
    corners = _on_grid(field, torch.ones((_LEVEL_CELLS + 1,) * 3, dtype=torch.bool), device)
    # A cell's eight corners and those next to them.
    highest_around = torch.nn.functional.max_pool3d(corners[None, None], 4, stride=1, padding=1)[0, 0]
    occupancy = Occupancy((highest_around >= _NEGLIGIBLE).to(device))
    samples = march(
        origins.repeat_interleave(_LEVEL_PIXELS**2, dim=0),
        directions.reshape(-1, 3),
        occupancy,
        _LEVEL_STEP,
        torch.full((count,), 0.5, device=device),
    )
    density = _density(field, samples.points)
    highest = density.new_zeros(count).scatter_reduce(0, samples.ray, density, "amax")
    thickness = density.new_zeros(count).index_add(0, samples.ray, density * _LEVEL_STEP)
    return highest, -torch.expm1(-thickness)


def sample_density(
    field: Field, resolution: int, level: float, device: torch.device
) -> Float32[np.ndarray, "{resolution} {resolution} {resolution}"]:
    """Density on the grid of `resolution` samples per axis over [-1, 1]^3, axes x, y, z.

    Below `level` from the unit sphere outwards, where the renderer never looks, and so on the rim. To save
    time a grid half as fine is sampled first, and the field is asked again only where the surface can
    be: not where all of the 3x3x3 samples around reach `level` (there the nearest one is taken), nor
    where none reaches a quarter of it (there 0). Raises UserError if the field is not finite.
    """
    half = (resolution + 1) // 2
    coarse = _on_grid(field, torch.ones(half, half, half, dtype=torch.bool), device)[None, None]
    highest = torch.nn.functional.max_pool3d(coarse, 3, stride=1, padding=1)
    lowest = -torch.nn.functional.max_pool3d(-coarse, 3, stride=1, padding=1)
    deep, far = lowest >= level, highest < level / 4
    layers = torch.cat([coarse * deep, ~(deep | far)], dim=1)
    known, wanted = torch.nn.functional.interpolate(layers, (resolution,) * 3)[0]
    return _cut_off(known + _on_grid(field, wanted > 0, device), level).numpy()


def _cut_off(density: Float[Tensor, "G G G"], level: float) -> Float[Tensor, "G G G"]:
    """What reaches the unit sphere, with a round end there.

    By zeros from one sample to the next it would have steps. Instead, no density is above one that falls through
    `level` a little before the sphere, so that the rim of the grid stays below it.
    """
    square = torch.linspace(-BOUND, BOUND, len(density)).square()
    radius = (square[:, None, None] + square[:, None] + square).sqrt_()
    outside = radius >= 1
    cells = radius.sub_(1).mul_((1 - len(density)) / (2 * BOUND)).sub_(_CUT_BEFORE)
    most = cells.mul_(_CUT_SLOPE).clamp_(max=_CUT_MOST).exp_().mul_(level)
    return torch.where(outside, most, torch.minimum(density, most))


def extract(density: Float32[np.ndarray, "G G G"], level: float) -> TriangleMesh:
    """The surface around all samples of at least `level`: marching cubes over [-1, 1]^3.

    Closed, if the rim of the grid is below `level`. Raises UserError if nothing is inside.
    """
    inside = np.count_nonzero(density >= level)
    if inside == 0:
        raise UserError(_EMPTY)
    # Densities grow about exponentially towards a surface, so their logarithm is what is nearly linear between
    # samples. A sample exactly at the level would give several vertices in one place: it counts as just inside.
    height = np.log((density + _SOFTENING * level) / ((1 + _SOFTENING) * level), dtype=np.float64)
    height[np.abs(height) < _CLEARANCE] = _CLEARANCE
    vertices, triangles = marching_cubes(height)
    points = vertices * (2 * BOUND / (len(density) - 1)) - BOUND
    return TriangleMesh(points.astype(np.float32), triangles.astype(np.int32))


def _on_grid(field: Field, wanted: Bool[Tensor, "G G G"], device: torch.device) -> Float[Tensor, "G G G"]:
    """Density at the `wanted` samples of a grid that are inside the unit sphere, 0 at all others."""
    axis = torch.linspace(-BOUND, BOUND, len(wanted))
    square = axis.square()
    in_ball = square[:, None, None] + square[:, None] + square < 1
    index = (wanted & in_ball).flatten().nonzero()[:, 0]
    density = torch.zeros(wanted.numel())
    for some in index.split(POINTS_AT_ONCE):
        column = some // len(wanted)
        points = torch.stack(
            [axis[column // len(wanted)], axis[column % len(wanted)], axis[some % len(wanted)]], dim=-1
        )
        density.index_copy_(0, some, _density(field, points.to(device)).cpu())
    return density.reshape(wanted.shape)


def _density(field: Field, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    with torch.no_grad():
        density = torch.cat([field.density(some) for some in points.split(POINTS_AT_ONCE)])
    if not density.isfinite().all():
        raise UserError(_BROKEN)
    return density.float()
