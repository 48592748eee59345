"""Meshes and pictures to begin from."""

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

TEXELS = 64


def box() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four vertices to each side of a box of 2 x 4 x 6 metres beside the origin, triangles, and an atlas of 3 x 2."""
    corners, triangles, uvs = [], [], []
    for side in range(6):
        axis, sign = side % 3, 1 if side < 3 else -1
        square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])[:: int(sign)]
        corners.append(np.insert(square, axis, sign, axis=1))
        if axis == 1:  # the two others in this order turn the other way
            corners[-1] = corners[-1][::-1]
        triangles += [(4 * side, 4 * side + 1, 4 * side + 2), (4 * side, 4 * side + 2, 4 * side + 3)]
        uvs.append((square * 0.42 + 0.5 + (side % 3, side // 3)) / (3, 2))
    vertices = np.concatenate(corners) * (1, 2, 3) + (10, 0, 0)
    return vertices.astype(np.float32), np.array(triangles), np.concatenate(uvs).astype(np.float32)


def picture(side: int = TEXELS) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def save(path: Path, textured: bool = True, **changes: np.ndarray) -> Path:
    """A GLB file of the box. changes: other vertices, triangles or uvs."""
    vertices, triangles, uvs = box()
    uvs = changes.get("uvs", uvs)
    material = PBRMaterial(baseColorTexture=picture(), metallicFactor=0.0, baseColorFactor=[255, 255, 255, 255])
    mesh = trimesh.Trimesh(
        changes.get("vertices", vertices),
        changes.get("triangles", triangles),
        process=False,
        visual=TextureVisuals(uvs, material=material) if textured else None,
    )
    path.write_bytes(trimesh.Scene(mesh).export(file_type="glb"))
    return path
