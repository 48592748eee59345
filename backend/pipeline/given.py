"""A mesh that an artist has already, as the program takes it up.

Letters: V vertices, F triangles, T texels per side.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Bool, Float32, UInt8

from backend.errors import UserError
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.glb import z_up
from backend.mesh.placement import Placement
from backend.mesh.raycast import welded
from backend.mesh.texels import rasterised
from backend.mesh.triangles import areas, corners_of, unit
from backend.mesh.unwrap import unwrap
from backend.prior import objects
from backend.prior.objects import Part, Surface

MOST_FACES = 1_000_000

_Z_UP = (".stl", ".ply", ".off", ".3mf")
"""Kinds of files whose third axis points upwards, as here; in others the second one does."""

_SMALLEST, _LARGEST = 1e-9, 1e9
"""Metres from the middle to the farthest vertex, beyond which products of them leave the range of numbers."""

_GREY = 128
"""The colour of a mesh that has none."""

_TOUCH = 1e-4  # texture coordinates that lie so little beyond the picture are on its edge
_OWN_PLACE = 0.4
"""Of its surface, the share that has a place of its own on the texture, if that is made to be painted on: mirrored
halves share one on purpose, three primitives that were joined do so by chance.
"""


@dataclass(frozen=True)
class Given:
    """mesh: as in the file, z up. uvs: of its triangles' corners, or None where some have none. normals: at corners.

    surface: its colours, inside the unit sphere, or None where it has none. picture: the one that alone gives it its
    colours, if there is one.
    """

    mesh: TriangleMesh
    uvs: Float32[np.ndarray, "F 3 2"] | None
    normals: Float32[np.ndarray, "F 3 3"]
    surface: Surface | None
    picture: UInt8[np.ndarray, "T T 3"] | None

    @property
    def placement(self) -> Placement:
        return Placement.of(self.mesh.vertices)


def read(path: Path) -> Given:
    """The mesh in a file. Raises UserError if there is none, or none that can be worked with."""
    parts = objects.placed(path)
    faces = sum(len(part.faces) for part, _ in parts)
    if faces > MOST_FACES:
        raise UserError(f"{path} has {faces:,} triangles; decimate it to {MOST_FACES:,} at most")
    turned = _as_they_are if path.suffix.lower() in _Z_UP else z_up
    before = np.cumsum([0, *(len(part.vertices) for part, _ in parts)])
    vertices = turned(np.concatenate([trimesh.transform_points(part.vertices, matrix) for part, matrix in parts]))
    triangles = np.concatenate([part.faces + first for (part, _), first in zip(parts, before, strict=False)])
    mesh = TriangleMesh(vertices.astype(np.float32), triangles.astype(np.int32))
    placement = Placement.of(mesh.vertices)
    if placement.radius < _SMALLEST:
        raise UserError(f"{path} has no extent; export a mesh that has a surface")
    if placement.radius > _LARGEST:
        raise UserError(f"{path} is too large; scale the mesh down and export it again")
    corners = placement.inside(mesh.vertices)[mesh.triangles]
    surface = objects.coloured(parts, corners, largest=_largest(parts))
    return Given(
        mesh=mesh,
        uvs=_uvs(parts),
        normals=turned(np.concatenate([_normals(*part) for part in parts])),
        surface=surface if surface.textures or not (surface.colours == 1).all() else None,
        picture=_picture(parts, surface),
    )


def as_asset(given: Given, size: int) -> tuple[Asset, list[str]]:
    """The mesh where it lies, with the colours that it has, and notes for the artist.

    Its own texture coordinates, if there is room on them to paint; others, on a size x size texture, if not.
    """
    notes: list[str] = []
    uvs = given.uvs
    if uvs is not None and not _paintable(given, uvs, size):
        notes.append("the mesh's texture coordinates give most of it no place of its own to paint on: it has new ones")
        uvs = None
    if uvs is None:
        layout = unwrap(welded(given.mesh), size)
        uvs, picture = layout.uvs, None
        notes += [layout.note] if layout.note else []
    else:
        picture = given.picture
    if picture is None:
        picture = _baked(given, uvs, size)
    return Asset(given.mesh, uvs, picture, given.normals), notes


def marked(path: Path | None, faces: int) -> Bool[np.ndarray, " F"]:
    """Which triangles are named in a text file; all of them without one. Raises UserError for what it cannot mean."""
    if path is None:
        return np.ones(faces, bool)
    try:
        numbers = [int(word) for word in path.read_text("utf-8").split()]
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no list of triangles; write their numbers, counted from 0, as text") from error
    if not numbers or min(numbers) < 0 or max(numbers) >= faces:
        raise UserError(f"{path} must name triangles of the mesh, by numbers from 0 to {faces - 1:,}")
    chosen = np.zeros(faces, bool)
    chosen[numbers] = True
    return chosen


def _as_they_are(vectors: np.ndarray) -> np.ndarray:
    return vectors


def _normals(part: trimesh.Trimesh, matrix: np.ndarray) -> Float32[np.ndarray, "F 3 3"]:
    """The file's own, or, where it has none, smooth ones."""
    turned = part.vertex_normals @ np.linalg.inv(matrix[:3, :3])
    return unit(turned)[part.faces].astype(np.float32)


def _uvs(parts: list[Part]) -> Float32[np.ndarray, "F 3 2"] | None:
    found = []
    for part, _ in parts:
        uv: Any = getattr(part.visual, "uv", None)
        if uv is None or not np.isfinite(uv).all():
            return None
        found.append(np.asarray(uv, np.float32)[part.faces])
    return np.concatenate(found)


def _largest(parts: list[Part]) -> int:
    pictures = [found[1].baseColorTexture for part, _ in parts if (found := objects.textured(part))]
    return max((max(picture.size) for picture in pictures if picture is not None), default=1)


def _picture(parts: list[Part], surface: Surface) -> UInt8[np.ndarray, "T T 3"] | None:
    found = [objects.textured(part) for part, _ in parts]
    pictures = {id(each and each[1].baseColorTexture): each and each[1].baseColorTexture for each in found}
    (picture, *others) = pictures.values()
    if others or picture is None or not (surface.colours == 1).all() or (surface.texture < 0).any():
        return None
    side = max(picture.size)
    square = picture.convert("RGB") if picture.width == picture.height else picture.convert("RGB").resize((side, side))
    return np.asarray(square, np.uint8)


def _paintable(given: Given, uvs: Float32[np.ndarray, "F 3 2"], size: int) -> bool:
    """Whether the texture coordinates lie on the picture and give enough of the surface a place of its own."""
    if uvs.min() < -_TOUCH or uvs.max() > 1 + _TOUCH:
        return False
    area = areas(corners_of(given.mesh))
    along, beside = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    texels = np.abs(along[:, 0] * beside[:, 1] - along[:, 1] * beside[:, 0]) / 2 * size**2
    # However many triangles lie on each other, one of them has each texel.
    had = np.bincount(rasterised(uvs, size).triangle, minlength=len(uvs))
    own = (had >= texels / 2) & (texels > 0.01)
    return bool(area[own].sum() >= _OWN_PLACE * area.sum())


def _baked(given: Given, uvs: Float32[np.ndarray, "F 3 2"], size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The colours that the mesh has, on new texture coordinates."""
    if given.surface is None:
        return np.full((size, size, 3), _GREY, np.uint8)
    texels = rasterised(uvs, size)
    colours, _ = given.surface.albedo(texels.hits)
    return texels.painted(colours.clamp(0, 1), size)
