"""Texels: which point of the surface each of them shows.

Letters: T texels per side, F triangles, n texels that a triangle covers, m runs of texels in a row.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from backend.mesh.raycast import Hits

_FLAT = 1e-9
"""Square texels: smaller triangles show one point of the surface, their middle."""


@dataclass(frozen=True)
class Texels:
    """Texels that show something, each once, row by row.

    row, column: where in the texture, row 0 at the top. weights: barycentric, of the triangle's
    three corners.
    """

    row: Int64[np.ndarray, " n"]
    column: Int64[np.ndarray, " n"]
    triangle: Int64[np.ndarray, " n"]
    weights: Float32[np.ndarray, "n 3"]

    def interpolated(self, corners: Float32[np.ndarray, "F 3 k"]) -> Float[Tensor, "n k"]:
        """Values at the texels of what is given at triangle corners."""
        return torch.from_numpy(np.einsum("nc,nck->nk", self.weights, corners[self.triangle]))

    @property
    def hits(self) -> Hits:
        """The places that they show, as if each were met by a ray of no length."""
        rays = torch.arange(len(self.triangle))
        return Hits(rays, torch.from_numpy(self.triangle), torch.from_numpy(self.weights), torch.zeros(len(rays)))

    def painted(self, colours: Float[Tensor, "n 3"], size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """The texture with these `colours` in [0, 1]; texels that show nothing take that of the nearest that does.

        So filtering and mipmaps never pull in a foreign colour at the border of an island.
        """
        texture = np.zeros((size, size, 3), np.uint8)
        texture[self.row, self.column] = (colours * 255).round().to(torch.uint8).numpy()
        used = np.zeros((size, size), bool)
        used[self.row, self.column] = True
        return dilated(texture, used)


def rasterised(uvs: Float32[np.ndarray, "F 3 2"], size: int) -> Texels:
    """The texels of a size x size texture that triangles cover.

    Row by row: within one row of texels a triangle covers an interval, which its edges bound. Where
    triangles overlap, the last one wins. A triangle too thin to cover any centre gets the texel under
    its centroid if that is free.
    """
    corners = uvs.astype(np.float64) * size
    corners[:, :, 1] = size - corners[:, :, 1]
    triangle, row, first, last = _spans(corners, size)
    run, column = _runs(first, last)
    triangle, row = triangle[run], row[run]

    centroid = np.clip(corners.mean(1).astype(np.int64), 0, size - 1)
    texel = np.concatenate([centroid[:, 1] * size + centroid[:, 0], row * size + column])
    owner = np.full(size * size, -1)
    owner[texel] = np.concatenate([np.arange(len(uvs)), triangle])
    texel = np.flatnonzero(owner >= 0)
    row, column, triangle = texel // size, texel % size, owner[texel]
    centre = np.stack([column, row], axis=-1) + 0.5
    return Texels(row, column, triangle, _barycentric(centre, corners[triangle]))


def _spans(
    corners: Float64[np.ndarray, "F 3 2"], size: int
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Triangle, row, first and last column of every run of texel centres; empty ones have last < first."""
    x, y = corners[:, :, 0], corners[:, :, 1]
    top = np.ceil(y.min(1).clip(0, size) - 0.5).astype(np.int64)
    bottom = np.floor(y.max(1).clip(0, size) - 0.5).astype(np.int64)
    triangle, row = _runs(top, bottom)

    level = row + 0.5
    low, high = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        x0, y0, x1, y1 = (axis[triangle, corner] for corner in (start, end) for axis in (x, y))
        crossed = (np.minimum(y0, y1) <= level) & (level <= np.maximum(y0, y1)) & (y0 != y1)
        at = x0 + (level - y0) / np.where(y0 == y1, 1, y1 - y0) * (x1 - x0)
        low, high = np.where(crossed, np.minimum(low, at), low), np.where(crossed, np.maximum(high, at), high)
    first = np.ceil(low.clip(0, size) - 0.5).astype(np.int64)
    last = np.floor(high.clip(0, size) - 0.5).astype(np.int64)
    return triangle, row, first, last


def _runs(
    first: Int64[np.ndarray, " m"], last: Int64[np.ndarray, " m"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The numbers from `first` to `last` of every run, one run after the other, and which run each is of."""
    length = np.maximum(last - first + 1, 0)
    run = np.repeat(np.arange(len(length)), length)
    return run, first[run] + np.arange(len(run)) - (np.cumsum(length) - length)[run]


def _barycentric(
    points: Float64[np.ndarray, "n 2"], corners: Float64[np.ndarray, "n 3 2"]
) -> Float32[np.ndarray, "n 3"]:
    """Weights of each triangle's corners at its point, moved into the triangle where that lies outside."""
    sides = corners - points[:, None]
    following, last = np.roll(sides, -1, axis=1), np.roll(sides, -2, axis=1)
    opposite = following[:, :, 0] * last[:, :, 1] - following[:, :, 1] * last[:, :, 0]
    whole = opposite.sum(1, keepdims=True)
    flat = np.abs(whole) < _FLAT
    weights = np.where(flat, 1, opposite / np.where(flat, 1, whole)).clip(0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def nearest_used(
    row: Int64[np.ndarray, " n"], column: Int64[np.ndarray, " n"], marked: Bool[np.ndarray, " n"], size: int
) -> Bool[np.ndarray, "{size} {size}"]:
    """Which texels of a texture are marked: those given that are, and of the others those that lie nearest to one."""
    used, marks = np.zeros((2, size, size), bool)
    used[row, column] = True
    marks[row, column] = marked
    return _spread(marks, used)


def dilated(texture: UInt8[np.ndarray, "T T 3"], used: Bool[np.ndarray, "T T"]) -> UInt8[np.ndarray, "T T 3"]:
    """`texture` with every unused texel set to the nearest used one."""
    return _spread(texture, used)


def _spread(values: np.ndarray, used: Bool[np.ndarray, "T T"]) -> np.ndarray:
    row, column = distance_transform_edt(~used, return_distances=False, return_indices=True)
    return np.asarray(values[row, column])
