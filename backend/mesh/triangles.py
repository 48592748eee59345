"""What triangles are by themselves: their corners, normals and areas.

Letters: F triangles.
"""

import numpy as np
from jaxtyping import Float, Float64

from backend.mesh.asset import TriangleMesh


def corners_of(mesh: TriangleMesh) -> Float64[np.ndarray, "F 3 3"]:
    return mesh.vertices[mesh.triangles].astype(np.float64)


def crossed(corners: Float64[np.ndarray, "F 3 3"]) -> Float64[np.ndarray, "F 3"]:
    """The normal of each triangle, towards where it is counter-clockwise, as long as its area is large."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2


def areas(corners: Float64[np.ndarray, "F 3 3"]) -> Float64[np.ndarray, " F"]:
    return np.linalg.norm(crossed(corners), axis=-1)


def unit(vectors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Vectors of length 1 in the same directions; those without a length stay so."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, np.finfo(np.float64).tiny)
