"""What an artist sent, as the files that the pipeline begins from. Only the worker's process imports this."""

from pathlib import Path

import numpy as np
import trimesh
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from backend.errors import UserError
from backend.files import write_whole
from backend.mesh.glb import y_up
from shared import meshes
from shared.inputs import PICTURE, Start
from shared.meshes import Mesh

MESH_FILE, PICTURE_FILE, MASK_FILE = "start.glb", "start.png", "mask.txt"


def prepared(start: Start, given: Path, folder: Path) -> tuple[Path, Path | None]:
    """The file to begin from, and the one that names the triangles to paint, if not all of them are; in `folder`.

    Raises UserError for what is no mesh, OSError if a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if start.sort == PICTURE:
        write_whole(folder / PICTURE_FILE, given.read_bytes())
        return folder / PICTURE_FILE, None
    try:
        mesh = meshes.unpack(given.read_bytes())
    except ValueError as error:
        raise UserError(f"what was sent is no mesh that one can work with ({error}); send it again") from error
    write_whole(folder / MESH_FILE, _glb(mesh))
    if mesh.mask is None:
        return folder / MESH_FILE, None
    marked = np.flatnonzero(np.asarray(mesh.mask))
    write_whole(folder / MASK_FILE, " ".join(map(str, marked)).encode())
    return folder / MESH_FILE, folder / MASK_FILE


def _glb(mesh: Mesh) -> bytes:
    """The mesh as a GLB, which is y-up: triangles in their order, vertices split at the seams of the texture."""
    upright = y_up(np.asarray(mesh.vertices, np.float32).reshape(-1, 3))
    corners = np.asarray(mesh.triangles, np.int64)
    visual = None
    if mesh.uvs is not None:
        uvs = np.asarray(mesh.uvs, np.float32).reshape(-1, 2)
        # What is exact in float32 is exact in float64, indices of a million vertices, too.
        rows, corners = np.unique(np.column_stack([corners, uvs.astype(np.float64)]), axis=0, return_inverse=True)
        upright, corners = upright[rows[:, 0].astype(np.int64)], corners.ravel()
        visual = TextureVisuals(uv=rows[:, 1:], material=PBRMaterial())
    made = trimesh.Trimesh(upright, corners.reshape(-1, 3), process=False, visual=visual)
    return export_glb(trimesh.Scene(made))
