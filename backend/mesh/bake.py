"""Colours from a field to a texture.

A field has no surface: what a viewer sees at a point comes from in front of it and behind it, and
differs from view to view. So a texel takes the mean of what pictures of the field show where it is
in sight. That is the texture with the least squared error over those pictures, up to the mixing of
neighbouring texels in one pixel. Against colours read at the surface or gathered along its normal,
soft fields with patterns gain 1 to 3 dB; sharp ones do not lose.

Letters: T texels per side, F triangles, n texels that show something, s of them in sight.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from backend.engine.cameras import Cameras, ring
from backend.engine.fields import Field
from backend.engine.occupancy import Occupancy
from backend.engine.rendering import Rendering, render
from backend.mesh.asset import TriangleMesh
from backend.mesh.raycast import RayCaster, corner_normals, one_by_one
from backend.mesh.texels import rasterised

RINGS = ((8, 20.0), (4, 60.0), (4, -30.0))
"""The views that colours are taken from: how many around, and at which elevation in degrees."""

_STEEPEST = math.cos(math.radians(80))
"""Texels seen at flatter angles than 80 degrees get more of their neighbours' colours than of their own."""

_IN_SIGHT = 0.01  # metres by which something may stand before a texel that still counts as seen
_SEEN = 0.05
"""Sum of weights from which on the pictures decide; one view from straight in front counts 1."""

_OUTSIDE, _INSIDE, _SAMPLES = 0.06, 0.1, 8  # the segment, in metres, along the normal of an unseen texel
_TEXELS_PER_PIXEL = 8  # a larger texture is made from larger pictures, so that its detail is real
_CHUNK = 1 << 18  # field samples at once


@dataclass(frozen=True)
class Photos:
    """Pictures of the field that a texture is made from.

    pixels: per side. step: metres between samples along a ray. cells: of the occupancy grid, per axis;
    threshold: density that occupies a cell.
    """

    pixels: int = 128
    step: float = 0.02
    cells: int = 64
    threshold: float = 0.2

    def taken(self, field: Field, device: torch.device) -> Iterator[tuple[Cameras, Rendering]]:
        """One camera (on the CPU) and its picture (on the device) after the other."""
        occupancy = Occupancy.of(field, self.cells, self.threshold, device)
        for camera in (camera for count, elevation in RINGS for camera in one_by_one(ring(count, elevation))):
            with torch.no_grad():
                yield camera, render(field, camera.to(device), self.pixels, occupancy, self.step)


def bake(
    field: Field,
    mesh: TriangleMesh,
    uvs: Float32[np.ndarray, "F 3 2"],
    size: int,
    device: torch.device,
    photos: Photos | None = None,
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The base-colour texture of `mesh`, size x size, row 0 at the top.

    `field` has three colour channels. photos: None takes larger pictures for larger textures.
    """
    texels = rasterised(uvs, size)
    points = texels.interpolated(mesh.vertices[mesh.triangles])
    normals = torch.nn.functional.normalize(texels.interpolated(corner_normals(mesh)), dim=-1)
    caster = RayCaster(mesh)
    colours, weights = torch.zeros(len(points), 3), torch.zeros(len(points))
    photos = photos or Photos(pixels=max(Photos.pixels, size // _TEXELS_PER_PIXEL))
    for camera, picture in photos.taken(field, device):
        seen, cosine = in_sight(caster, points, normals, camera.position[0])
        image = torch.cat([picture.colour[0], picture.opacity]).cpu()
        # Colours come premultiplied: a pixel that hardly shows the object hardly counts.
        found = cosine[:, None] * looked_up(image, camera, points[seen])
        colours[seen] += found[:, :3]
        weights[seen] += found[:, 3]
    colours /= weights[:, None].clamp(min=_SEEN)
    unseen = weights < _SEEN
    colours[unseen] = along_normals(field, points[unseen].to(device), normals[unseen].to(device)).cpu()
    return texels.painted(colours.clamp(0, 1), size)


def in_sight(
    caster: RayCaster, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], eye: Float[Tensor, "3"]
) -> tuple[Int[Tensor, " s"], Float[Tensor, " s"]]:
    """Which of the points on the mesh a viewer at `eye` sees, and the cosine between normal and view of each."""
    distance = (points - eye).norm(dim=-1)
    directions = (points - eye) / distance[:, None]
    cosine = -(directions * normals).sum(-1)
    facing = (cosine > _STEEPEST).nonzero()[:, 0]
    hits = caster.first_hits(eye.expand(len(facing), 3).contiguous(), directions[facing])
    # A ray that slips through between two triangles has met nothing on its way either.
    hidden = torch.zeros(len(facing), dtype=torch.bool)
    hidden[hits.ray] = hits.distance < distance[facing[hits.ray]] - _IN_SIGHT
    return facing[~hidden], cosine[facing[~hidden]]


def looked_up(image: Float[Tensor, "c H W"], camera: Cameras, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
    """The picture of one square camera where it shows the given points, bilinear."""
    right, up = camera.right_and_up
    away = points - camera.position
    axes = torch.stack([right[0], -up[0], -camera.backward[0]], dim=-1)
    across, down, depth = (away @ axes).unbind(-1)
    grid = torch.stack([across, down], dim=-1) / (depth * torch.tan(camera.fov / 2))[:, None]
    found = torch.nn.functional.grid_sample(
        image[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T


def along_normals(field: Field, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Colours by emission and absorption along a short way through the surface, for points that no view shows."""
    step = (_OUTSIDE + _INSIDE) / _SAMPLES
    heights = _OUTSIDE - (torch.arange(_SAMPLES, device=points.device) + 0.5) * step
    found = [points.new_zeros(0, 3)]
    with torch.no_grad():
        for some, outwards in zip(points.split(_CHUNK // _SAMPLES), normals.split(_CHUNK // _SAMPLES), strict=True):
            samples = some[:, None] + heights[:, None] * outwards[:, None]
            density, colour = field.density_and_colour(samples.flatten(0, 1))
            thickness = density.reshape(-1, _SAMPLES, 1) * step
            weights = torch.exp(thickness - thickness.cumsum(1)) * -torch.expm1(-thickness)
            opacity = weights.sum(1)
            seen = (weights * colour.reshape(-1, _SAMPLES, 3)).sum(1)
            found.append(torch.where(opacity > 1e-2, seen / opacity.clamp(min=1e-2), field.colour(some)))
    return torch.cat(found)
