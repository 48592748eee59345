"""GLB files: the asset as other programs read it, with the recipe that made it.

glTF is y-up and its texture origin is the upper left; the world here is z-up: (x, y, z) is written as
(x, z, -y), which Blender's importer turns back. One vertex there has one texture coordinate and one
normal, so vertices are split here, at seams and creases, and nowhere else.

Letters: V vertices, F triangles, T texels per side.
"""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from backend.errors import UserError
from backend.files import write_whole
from backend.mesh.asset import Asset, TriangleMesh

ROUGHNESS = 0.8

_RECIPE = "recipe"  # in asset.extras: it describes the file and lands in nobody's scene
_JSON_CHUNK = 0x4E4F534A
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


def write_glb(asset: Asset, path: Path, name: str, recipe: dict[str, Any]) -> None:
    """Write `asset` to `path`, whole or not at all, everything in it called `name`.

    `recipe` is kept as the file's asset.extras.recipe. Raises ValueError if `recipe` is not JSON,
    OSError if the file cannot be written.
    """
    json.dumps(recipe, allow_nan=False)

    def complete(tree: dict[str, Any]) -> None:
        tree["asset"]["extras"] = {_RECIPE: recipe}
        for kind in ("nodes", "meshes", "materials", "images"):
            (only,) = tree[kind]
            only["name"] = name
        (primitive,) = tree["meshes"][0]["primitives"]
        _aim(tree, primitive["attributes"].values(), _ARRAY_BUFFER)
        _aim(tree, [primitive["indices"]], _ELEMENT_ARRAY_BUFFER)

    data = export_glb(trimesh.Scene(_split(asset)), include_normals=True, tree_postprocessor=complete)
    write_whole(path, data)


def read_glb(path: Path) -> tuple[Asset, dict[str, Any]]:
    """The asset in a file that `write_glb` wrote, its vertices still split, and the recipe.

    Raises UserError for any other file, OSError if it cannot be read.
    """
    data = path.read_bytes()
    try:
        recipe = _header(data)["asset"]["extras"][_RECIPE]
        (mesh,) = trimesh.load_scene(path, process=False).geometry.values()
        uv, image = mesh.visual.uv, mesh.visual.material.baseColorTexture
        vertices, triangles = z_up(mesh.vertices).astype(np.float32), np.asarray(mesh.faces, np.int32)
        normals = z_up(mesh.vertex_normals).astype(np.float32)[triangles]
    except (ValueError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise UserError(f"{path} is no mesh of this program, or it is damaged; generate it again") from error
    texture = np.asarray(image.convert("RGB"), np.uint8)
    return Asset(TriangleMesh(vertices, triangles), np.asarray(uv, np.float32)[triangles], texture, normals), recipe


def _split(asset: Asset) -> trimesh.Trimesh:
    """The asset with one vertex for each different position, texture coordinate and normal, y up."""
    mesh = asset.mesh
    corners = [mesh.vertices[mesh.triangles], asset.uvs, asset.normals]
    attributes = np.concatenate(corners, axis=-1).reshape(-1, 8)
    vertices, triangles = np.unique(attributes, axis=0, return_inverse=True)
    material = PBRMaterial(
        baseColorTexture=Image.fromarray(asset.texture),
        metallicFactor=0.0,
        roughnessFactor=ROUGHNESS,
    )
    return trimesh.Trimesh(
        vertices=y_up(vertices[:, :3]),
        faces=triangles.reshape(-1, 3),
        vertex_normals=y_up(vertices[:, 5:]),
        visual=TextureVisuals(uv=vertices[:, 3:5], material=material),
        process=False,
    )


def _aim(tree: dict[str, Any], accessors: Iterable[int], target: int) -> None:
    """Say of the buffer views behind `accessors` what they hold, so that a graphics card can take them as they are."""
    for accessor in accessors:
        tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]["target"] = target


def y_up(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Points, or directions, as glTF has them, of ours."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def z_up(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Ours, of those that a GLB file has."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def _header(data: bytes) -> dict[str, Any]:
    """The JSON chunk of a GLB file (glTF 2.0, section 4.4)."""
    magic, version, _, length, kind = struct.unpack_from("<4sIIII", data)
    if (magic, version, kind) != (b"glTF", 2, _JSON_CHUNK):
        raise ValueError("not a GLB file")
    header: dict[str, Any] = json.loads(data[20 : 20 + length])
    return header
