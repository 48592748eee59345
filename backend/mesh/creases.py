"""Normals of the finished mesh: where its surface is shaded as one, and where it is seen to turn.

Letters: F triangles.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from backend.mesh.asset import TriangleMesh
from backend.mesh.names import ShadingName
from backend.mesh.triangles import areas, corners_of, crossed, unit

BETWEEN_FLAT, BESIDE_FLAT, ELSEWHERE = 32.0, 45.0, 60.0
"""Degrees from which on an angle is a crease: between two flat sides, at one, and where the surface is curved.

On a round thing of few faces these meet at wide angles, too; that is not to be seen.
"""

_COPLANAR, _PLANE = np.cos(np.radians(2)), np.cos(np.radians(4))  # from face to face, and of a flat side as a whole
_LARGE = 0.01  # share of the surface that a flat side has at least


def shaded(mesh: TriangleMesh, shading: ShadingName) -> Float32[np.ndarray, "F 3 3"]:
    """Unit normals at triangle corners.

    "flat": those of the faces. "smooth": one at each vertex. "auto": smooth but for creases, for which flat sides need
    to turn less than curved ones. Seams do not count: vertices must be welded.
    """
    corners = corners_of(mesh)
    normals, area = unit(crossed(corners)), areas(corners)
    if shading == "flat":
        return normals[:, None].repeat(3, axis=1).astype(np.float32)
    beyond = opposite(mesh.triangles)
    if shading == "auto":
        beyond = np.where(creased(normals, area, beyond), -1, beyond)
    return _by_fans(mesh, normals, beyond)


def opposite(triangles: Int32[np.ndarray, "F 3"]) -> Int64[np.ndarray, "F 3"]:
    """For each side of each face the number of the same side as the face beyond has it, or -1 where there is none.

    Side c of face f, from its corner c on, is number 3 f + c. Of more than two faces at an edge some are left out.
    """
    sides = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    order = np.lexsort(sides.T)
    same = np.flatnonzero((sides[order[1:]] == sides[order[:-1]]).all(axis=1))
    beyond = np.full(len(sides), -1)
    beyond[order[same]], beyond[order[same + 1]] = order[same + 1], order[same]
    return beyond.reshape(-1, 3)


def creased(
    normals: Float64[np.ndarray, "F 3"], area: Float64[np.ndarray, " F"], beyond: Int64[np.ndarray, "F 3"]
) -> Bool[np.ndarray, "F 3"]:
    """Which sides of faces are creases. `beyond`: see `opposite`."""
    other = beyond // 3
    cosine = (normals[:, None] * normals[other]).sum(axis=-1)
    flat = _flat(normals, area, np.where(cosine > _COPLANAR, beyond, -1))
    least = np.cos(np.radians([ELSEWHERE, BESIDE_FLAT, BETWEEN_FLAT]))
    return cosine < least[flat[:, None].astype(int) + flat[other]]


def _flat(
    normals: Float64[np.ndarray, "F 3"], area: Float64[np.ndarray, " F"], beyond: Int64[np.ndarray, "F 3"]
) -> Bool[np.ndarray, " F"]:
    """Which faces are part of a flat side. `beyond`: see `opposite`, where the face beyond lies in the same plane."""
    face, side = np.nonzero(beyond >= 0)
    graph = coo_array((np.ones(len(face)), (face, beyond[face, side] // 3)), shape=(len(area),) * 2)
    _, patch = connected_components(graph, directed=False)
    patch_area = np.bincount(patch, area)
    sums = np.stack([np.bincount(patch, area * normals[:, axis]) for axis in range(3)], axis=-1)
    # A finely divided round surface hangs together as well, but looks in many ways.
    is_flat = (np.linalg.norm(sums, axis=-1) > _PLANE * patch_area) & (patch_area > _LARGE * area.sum())
    return is_flat[patch]


def _by_fans(
    mesh: TriangleMesh, normals: Float64[np.ndarray, "F 3"], beyond: Int64[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "F 3 3"]:
    """At each corner the mean normal of the faces that are reached around its vertex without crossing a crease.

    They weigh by their angles there, as in Blender. `beyond`: see `opposite`; -1 at creases, too.
    """
    face, side = np.nonzero(beyond >= 0)
    start, other = 3 * face + side, beyond[face, side]
    # The side runs the other way in the face beyond: this start is that one's end.
    graph = coo_array((np.ones(len(start)), (start, other - other % 3 + (other + 1) % 3)), shape=(beyond.size,) * 2)
    _, fan = connected_components(graph, directed=False)
    weighted = (_angles(mesh)[:, :, None] * normals[:, None]).reshape(-1, 3)
    sums = np.stack([np.bincount(fan, weighted[:, axis]) for axis in range(3)], axis=-1)
    return unit(sums)[fan].reshape(-1, 3, 3).astype(np.float32)


def _angles(mesh: TriangleMesh) -> Float64[np.ndarray, "F 3"]:
    """Between the two sides that meet in each corner, in radians."""
    corners = corners_of(mesh)
    forth, back = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    return np.arctan2(np.linalg.norm(np.cross(forth, back), axis=-1), (forth * back).sum(axis=-1))
