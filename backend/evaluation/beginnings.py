"""What a run begins from, made of a true object: its bare mesh, boxes in its place, a picture or a sketch of it."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from PIL import Image
from scipy import ndimage
from torch import Tensor
from trimesh.exchange.gltf import export_glb

from backend.engine.cameras import ring
from backend.evaluation.gallery import SHEET_PIXELS, shown
from backend.evaluation.runs import Beginning
from backend.mesh import raycast
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.fidelity import on_surface
from backend.mesh.glb import y_up
from backend.pipeline.given import as_asset, read

VERSION = 2
"""Of what is made here: rows of another one are not added to."""

_PIXELS = 512
_LINE = 4  # pixels of a sketch's outline
_SLICES, _POINTS = 4, 20_000
_TEXELS = 64


def begun(beginning: Beginning, asset: Asset, folder: Path) -> Path | None:
    """A file in `folder` to begin from, made of `asset`, or None for a run that begins from nothing."""
    return _MADE[beginning](asset, folder) if beginning in _MADE else None


def pictured(start: Path | None, asset: Asset) -> Float[Tensor, "3 H W"]:
    """What a run begins from, or `asset` where that is nothing, as `gallery.shown` shows objects from aside."""
    if start is None:
        return shown(asset)[1]
    if start.suffix == ".png":
        drawn = Image.open(start).convert("RGBA").resize((SHEET_PIXELS, SHEET_PIXELS))
        white = Image.new("RGBA", drawn.size, "white")
        return torch.from_numpy(np.array(Image.alpha_composite(white, drawn).convert("RGB"))).permute(2, 0, 1) / 255
    given = read(start)
    return shown(given.placement.inwards(as_asset(given, _TEXELS)[0]))[1]


def boxes(mesh: TriangleMesh) -> TriangleMesh:
    """A box around what lies in each of four slices, one above the other: as an artist blocks an object out."""
    points = on_surface(mesh, _POINTS, torch.Generator().manual_seed(0))
    heights = np.linspace(points[:, 2].min(), points[:, 2].max(), _SLICES + 1)
    found = []
    for low, high in pairwise(heights):
        inside = points[(points[:, 2] >= low) & (points[:, 2] <= high), :2]
        if len(inside):
            found.append(trimesh.creation.box(bounds=[[*inside.min(0), low], [*inside.max(0), high]]))
    vertices = np.concatenate([box.vertices for box in found])
    triangles = np.concatenate([box.faces + len(box.vertices) * index for index, box in enumerate(found)])
    return TriangleMesh(vertices.astype(np.float32), triangles.astype(np.int32))


def _bare(asset: Asset, folder: Path) -> Path:
    """The mesh, shaded as it is, without its colours and texture coordinates."""
    corners = asset.mesh.vertices[asset.mesh.triangles].reshape(-1, 3)
    return _exported(corners, np.arange(len(corners)).reshape(-1, 3), asset.normals.reshape(-1, 3), folder)


def _blocked_out(asset: Asset, folder: Path) -> Path:
    found = boxes(asset.mesh)
    return _exported(found.vertices, found.triangles, None, folder)


def _exported(vertices: np.ndarray, triangles: np.ndarray, normals: np.ndarray | None, folder: Path) -> Path:
    normals = None if normals is None else y_up(normals)
    mesh = trimesh.Trimesh(y_up(vertices), triangles, vertex_normals=normals, process=False)
    path = folder / "start.glb"
    path.write_bytes(export_glb(trimesh.Scene([mesh]), include_normals=normals is not None))
    return path


def _photographed(asset: Asset, folder: Path) -> Path:
    """Its front in plain colours, on nothing."""
    seen = raycast.render(asset, ring(1, elevation_degrees=0), _PIXELS)
    whole = seen.colour[0] / seen.opacity.clamp(min=1e-3)
    layers = torch.cat([whole.clamp(0, 1), seen.opacity])
    return _drawn((255 * layers).round().byte().permute(1, 2, 0).numpy(), folder)


def _sketched(asset: Asset, folder: Path) -> Path:
    """Its outline from the front, black on white."""
    there = raycast.render(asset, ring(1, elevation_degrees=0), _PIXELS).opacity[0].numpy() >= 0.5
    line = ndimage.binary_dilation(there, iterations=_LINE) & ~there
    return _drawn(np.where(line, 0, 255).astype(np.uint8), folder)


def _drawn(pixels: np.ndarray, folder: Path) -> Path:
    path = folder / "start.png"
    Image.fromarray(pixels).save(path)
    return path


_MADE: Mapping[Beginning, Callable[[Asset, Path], Path]] = {
    "paint": _bare,
    "blockout": _blocked_out,
    "picture": _photographed,
    "sketch": _sketched,
}
