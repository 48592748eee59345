"""An artist's picture on the mesh that was made after it: where its camera sees the surface, it has the last word.

Letters: T texels per side, N pixels of the picture a side.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor

from backend.engine.reference import Reference
from backend.mesh.asset import Asset
from backend.mesh.bake import in_sight, looked_up
from backend.mesh.raycast import RayCaster
from backend.mesh.texels import rasterised

_GRAZING, _STRAIGHT = 0.17, 0.3
"""Cosines between normal and view from which on the picture has a part in a texel, and alone decides."""

_BESIDE = 0.02
"""Of the picture's side: texels so far beside what it shows of the object still take the nearest of its colours."""

_EDGE = 2  # pixels in which the object may be mixed with what is behind it


def likened(asset: Asset, reference: Reference) -> UInt8[np.ndarray, "T T 3"]:
    """The texture of `asset`, inside the unit sphere, with the picture's colours where that shows it from ahead.

    As it is where `reference` has no colours.
    """
    if reference.colour is None:
        return asset.texture
    size = len(asset.texture)
    texels = rasterised(asset.uvs, size)
    points = texels.interpolated(asset.mesh.vertices[asset.mesh.triangles])
    normals = torch.nn.functional.normalize(texels.interpolated(asset.normals), dim=-1)
    seen, cosine = in_sight(RayCaster(asset.mesh), points, normals, reference.camera.position[0])
    found = looked_up(
        _spread(reference.colour, _sure(reference.opacity.numpy() > 0.99)), reference.camera, points[seen]
    )
    share = ((cosine - _GRAZING) / (_STRAIGHT - _GRAZING)).clamp(0, 1) * (found[:, 3] > 0.5)
    colours = torch.from_numpy(asset.texture[texels.row, texels.column]).float() / 255
    colours[seen] += share[:, None] * (found[:, :3] - colours[seen])
    return texels.painted(colours.clamp(0, 1), size)


def _sure(there: Bool[np.ndarray, "N N"]) -> Bool[np.ndarray, "N N"]:
    """Where the picture shows nothing but the object: not at its edge, unless it is all edge, as thin parts are."""
    inner = ndimage.binary_erosion(there, iterations=_EDGE)
    return inner | there & ~ndimage.binary_dilation(inner, iterations=2 * _EDGE)


def _spread(colour: Float[Tensor, "3 N N"], sure: Bool[np.ndarray, "N N"]) -> Float[Tensor, "4 N N"]:
    """The nearest of the picture's colours everywhere, and 1 where that is near, else 0."""
    away, (row, column) = ndimage.distance_transform_edt(~sure, return_indices=True)
    near = torch.from_numpy((away <= _BESIDE * len(sure)).astype(np.float32))
    return torch.cat([colour[:, row, column], near[None]])
