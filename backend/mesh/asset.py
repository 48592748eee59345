"""The finished object inside the program, and what is asked of it.

Letters: V vertices, F triangles, T texels per side.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from backend.mesh.names import ShadingName

DARKEST, BRIGHTEST = 30, 240
"""Display values of base colours: those of what real things are made of lie between (Adobe's PBR guide, part 2). Pure
black shows no light, and so no shape.
"""

SMALLEST_AREA = 1e-10
"""Triangles of less than this many square metres are degenerate."""


@dataclass(frozen=True)
class MeshSettings:
    """What the mesh stage is asked for.

    resolution: grid samples per axis for the surface. faces: at most this many triangles. texture:
    texels per side. level: density of the surface, or None to find the one that matches the renders. shading: see
    `creases.shaded`.
    """

    resolution: int = 256
    faces: int = 20_000
    texture: int = 1024
    level: float | None = None
    shading: ShadingName = "auto"


@dataclass(frozen=True)
class TriangleMesh:
    """V welded vertices and F triangles, counter-clockwise seen from outside. World space: z up, metres."""

    vertices: Float32[np.ndarray, "V 3"]
    triangles: Int32[np.ndarray, "F 3"]


@dataclass(frozen=True)
class Asset:
    """A textured mesh: vertices stay welded, texture coordinates belong to triangle corners.

    uvs: (F, 3, 2) in [0, 1], origin at the texture's lower left corner. texture: base colour as
    display values (sRGB bytes), row 0 at the top. normals: unit vectors at triangle corners, as the surface is shaded.
    """

    mesh: TriangleMesh
    uvs: Float32[np.ndarray, "F 3 2"]
    texture: UInt8[np.ndarray, "T T 3"]
    normals: Float32[np.ndarray, "F 3 3"]
