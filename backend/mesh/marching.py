"""Marching cubes by PyMCubes, or by scikit-image where PyMCubes has no wheel: on Python 3.13, that of Blender 5.1 and
later.

Letters: G grid samples per axis, V vertices, F triangles.
"""

from importlib.util import find_spec

import numpy as np
from jaxtyping import Float64, Int64

PACKAGE = "PyMCubes" if find_spec("mcubes") else "scikit-image"
"""Which one it is: their meshes differ in which way a cell is cut where the samples leave that open."""


def marching_cubes(
    height: Float64[np.ndarray, "G G G"], package: str = PACKAGE
) -> tuple[Float64[np.ndarray, "V 3"], Int64[np.ndarray, "F 3"]]:
    """The surface where `height` is 0, between samples in units of the grid, triangles counter-clockwise seen from the
    side of smaller values. Closed, if the rim is below 0. There has to be a surface."""
    if package == "PyMCubes":
        import mcubes

        vertices, triangles = mcubes.marching_cubes(height, 0.0)
    else:
        from skimage import measure

        vertices, triangles, _, _ = measure.marching_cubes(
            height, 0.0, gradient_direction="ascent", allow_degenerate=False
        )
    return vertices.astype(np.float64), triangles.astype(np.int64)
