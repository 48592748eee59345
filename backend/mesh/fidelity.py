"""How close a mesh comes to what it was made from, and how clean it is.

Letters: B views, H x W pixels, V vertices, F triangles, n sampled points.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from scipy.spatial import KDTree
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.fields import Field
from backend.engine.occupancy import Occupancy
from backend.engine.painting import Painting
from backend.engine.rendering import Rendering, render
from backend.engine.shading import over
from backend.mesh import raycast
from backend.mesh.asset import BRIGHTEST, DARKEST, SMALLEST_AREA, Asset, TriangleMesh
from backend.mesh.clean import components
from backend.mesh.triangles import areas, corners_of

BACKGROUND = 0.5
"""Grey level behind both pictures: it is as far from dark objects as from bright ones."""

LIKE_ENOUGH = 99.0
"""dB, as which the PSNR of equal pictures is told: JSON has no word for infinite."""

_PIXELS = 256


@runtime_checkable
class Pictures(Protocol):
    """B views, colours premultiplied by opacity: a field's rendering or a mesh's."""

    @property
    def colour(self) -> Float[Tensor, "B 3 H W"]: ...

    @property
    def opacity(self) -> Float[Tensor, "B H W"]: ...


@dataclass(frozen=True)
class Fidelity:
    """How well pictures of the mesh match those of the field, all views together.

    psnr: dB over the pixels that either shows. silhouette_iou: in [0, 1]; 1 is the same outline.
    """

    psnr: float
    silhouette_iou: float


@dataclass(frozen=True)
class Topology:
    """How clean a mesh is.

    watertight: every edge has one triangle on each side, and both agree about which side is out.
    components: pieces that share no vertex. degenerate: triangles of less than
    SMALLEST_AREA.
    """

    faces: int
    watertight: bool
    components: int
    degenerate: int


def compare(field: Pictures, mesh: Pictures) -> Fidelity:
    """Compare base colours and outlines, same cameras and size. A pixel is shown where opacity is at least 1/2.

    psnr is infinite for equal pictures and nan where nothing is shown.
    """
    shown, covered = field.opacity.cpu() >= 0.5, mesh.opacity.cpu() >= 0.5
    union = shown | covered
    error = (_on_grey(field) - _on_grey(mesh)).square().mean(1)[union].mean().item()
    overlap = (shown & covered).sum().item() / max(union.sum().item(), 1)
    return Fidelity(psnr=math.inf if error == 0 else -10 * math.log10(error), silhouette_iou=overlap)


def _on_grey(pictures: Pictures) -> Float[Tensor, "B 3 H W"]:
    opacity = pictures.opacity.cpu()
    return over(pictures.colour.cpu(), opacity, torch.full((len(opacity), 3), BACKGROUND))


def to_field(asset: Asset, field: Field, device: torch.device) -> Fidelity:
    """The mesh against the field's own renders, in colours that a mesh may have, from eight sides.

    The field renders display colours on `device`.
    """
    cameras = ring(8, elevation_degrees=20)
    occupancy = Occupancy.of(field, 64, 0.1, device)
    with torch.no_grad():  # one view at a time: the samples of all of them are gigabytes
        views = [
            render(field, camera.to(device), _PIXELS, occupancy, step=0.02) for camera in raycast.one_by_one(cameras)
        ]
    seen = _together(views)
    darkest, brightest = (seen.opacity[:, None] * value / 255 for value in (DARKEST, BRIGHTEST))
    natural = _Views(torch.minimum(torch.maximum(seen.colour, darkest), brightest), seen.opacity)
    return compare(natural, raycast.render(asset, cameras, _PIXELS))


def to_painting(asset: Asset, painting: Painting, device: torch.device) -> Fidelity:
    """The mesh, inside the unit sphere, against what was painted on it, from eight sides."""
    cameras, fine = ring(8, elevation_degrees=20), _PIXELS * raycast.SUPERSAMPLING
    with torch.no_grad():
        views = [painting.render(camera.to(device), fine, progress=1.0) for camera in raycast.one_by_one(cameras)]
    seen = _together(views)
    colour, opacity = (
        torch.nn.functional.avg_pool2d(each, raycast.SUPERSAMPLING) for each in (seen.colour, seen.opacity)
    )
    return compare(_Views(colour, opacity), raycast.render(asset, cameras, _PIXELS))


def _together(views: Sequence[Rendering]) -> "_Views":
    """One view after the other, on the CPU."""
    return _Views(torch.cat([view.colour for view in views]).cpu(), torch.cat([view.opacity for view in views]).cpu())


@dataclass(frozen=True)
class _Views:
    """Pictures of a field, as `compare` wants them."""

    colour: Float[Tensor, "B 3 H W"]
    opacity: Float[Tensor, "B H W"]


def topology(mesh: TriangleMesh) -> Topology:
    """Count what matters to whoever edits or prints the mesh. Vertices in the same place count as one."""
    whole = raycast.welded(mesh)
    start = whole.triangles.astype(np.int64)
    end = np.roll(start, -1, axis=1)
    count = len(whole.vertices)
    forth, times = np.unique(start * count + end, return_counts=True)
    back = np.unique(end * count + start)
    return Topology(
        faces=len(start),
        watertight=len(start) > 0 and bool((times == 1).all()) and np.array_equal(forth, back),
        components=components(whole)[0],
        degenerate=int((areas(corners_of(whole)) < SMALLEST_AREA).sum()),
    )


def f_scores(
    mesh: TriangleMesh,
    reference: TriangleMesh,
    thresholds: Sequence[float],
    generator: torch.Generator,
    count: int = 20_000,
) -> tuple[float, ...]:
    """Harmonic means of precision and recall: the shares of either surface within a threshold, in metres, of the other.

    By `count` random points on each, so accurate to about 1 / sqrt(count), and a little low where a
    threshold comes near the distance between points (Knapitsch et al. 2017, Tanks and Temples, eq. 5).
    """
    ours, theirs = (on_surface(each, count, generator) for each in (mesh, reference))
    # The bound ends a search early: without it, points far off take most of the time.
    off, missed = (
        KDTree(others).query(points, distance_upper_bound=max(thresholds))[0]
        for points, others in ((ours, theirs), (theirs, ours))
    )
    return tuple(_harmonic_mean((off < limit).mean(), (missed < limit).mean()) for limit in thresholds)


def _harmonic_mean(precision: float, recall: float) -> float:
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def on_surface(mesh: TriangleMesh, count: int, generator: torch.Generator) -> Float32[np.ndarray, "{count} 3"]:
    """Random points of the surface, uniform by area."""
    triangle, weights = _scattered(mesh, count, generator)
    corners = mesh.vertices[mesh.triangles[triangle.numpy()]]
    return (weights.numpy()[:, :, None] * corners).sum(1).astype(np.float32)


def scattered(mesh: TriangleMesh, count: int, generator: torch.Generator) -> raycast.Hits:
    """As `on_surface`, the places themselves, as if each were met by a ray of no length."""
    triangle, weights = _scattered(mesh, count, generator)
    return raycast.Hits(torch.arange(count), triangle, weights.float(), torch.zeros(count))


def _scattered(
    mesh: TriangleMesh, count: int, generator: torch.Generator
) -> tuple[Int64[Tensor, " {count}"], Float64[Tensor, "{count} 3"]]:
    """Triangles, and barycentric weights in them."""
    upto = torch.from_numpy(areas(corners_of(mesh))).cumsum(0)
    pick, first, second = torch.rand(3, count, generator=generator, dtype=torch.float64)
    triangle = torch.searchsorted(upto, pick * upto[-1]).clamp(max=len(upto) - 1)
    # The square root spreads points evenly over the triangle (Osada et al. 2002, eq. 1).
    root = first.sqrt()
    return triangle, torch.stack([1 - root, root * (1 - second), root * second], dim=-1)
