"""What the artist chose to begin from, as arrays: an object's mesh as it is seen, or an image's pixels.

The object and the image stay as they are. Letters: V vertices, F triangles, L loops of the object's own mesh.
"""

from dataclasses import dataclass, replace

import bpy
import numpy as np

from . import png
from .shared import meshes
from .shared.limits import MESH_TRIANGLES, MESH_VERTICES

PICTURE_SIDE = 1024
"""Pixels that a picture is made smaller to: more than any model looks at."""

PICTURE_MOST = 8192
"""Pixels of a side; what is larger takes gigabytes to be read."""

EVERYWHERE, SLOT, SELECTED = "everywhere", "slot", "selected"
"""Which faces are painted: all, those of the active material slot, those that are selected in Edit mode."""

_DISPLAY = 1 / 2.4  # from light to sRGB
_MARGIN = 0.02  # between the pieces of a UV map, in shares of its side


class NotGathered(Exception):
    """One sentence for the artist."""


@dataclass(frozen=True)
class Shape:
    """vertices: (V, 3), in the world. triangles: (F, 3) of their numbers. uvs: (3 F, 2), or None. mask: (F,), 1 where
    it is painted, or None for everywhere. loops, polygons: (3 F,) and (F,), those of the object's own mesh that corners
    and triangles belong to; None where modifiers make others.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray | None
    mask: np.ndarray | None
    loops: np.ndarray | None
    polygons: np.ndarray | None

    def on(self, uvs: np.ndarray) -> "Shape":
        """The same with other texture coordinates, (L, 2), of the object's own loops."""
        return replace(self, uvs=np.ascontiguousarray(uvs[self.loops]))

    def packed(self) -> bytes:
        """See `shared.meshes`. Raises ValueError."""
        columns = [self.vertices, self.triangles, self.uvs, self.mask]
        return meshes.pack(*(None if column is None else memoryview(column) for column in columns))


@dataclass(frozen=True)
class Pixels:
    """values: (height, width, channels), the upper row first. linear: whether they are light and no display colours."""

    values: np.ndarray
    linear: bool

    def packed(self) -> bytes:
        """A PNG of them, of at most PICTURE_SIDE pixels a side."""
        height, width, channels = self.values.shape
        step = -(-max(height, width) // PICTURE_SIDE)
        rows, columns = max(1, height // step), max(1, width // step)
        blocks = self.values[: rows * step, : columns * step]
        tall, wide = min(step, height), min(step, width)
        values = blocks.reshape(rows, tall, columns, wide, channels).mean(axis=(1, 3))
        values = np.nan_to_num(values).clip(0, 1)
        colours = values[..., :3] if channels >= 3 else values[..., :1].repeat(3, axis=-1)
        if self.linear:
            colours = np.where(colours <= 0.0031308, 12.92 * colours, 1.055 * colours**_DISPLAY - 0.055)
        alpha = values[..., 3:] if channels == 4 else np.ones_like(colours[..., :1])
        return png.packed(np.rint(255 * np.concatenate([colours, alpha], axis=-1)).astype(np.uint8))


def shape_of(found: bpy.types.Object, depsgraph: bpy.types.Depsgraph, where: str = EVERYWHERE) -> Shape:
    """The mesh of an object with all its modifiers. Raises NotGathered."""
    seen = found.evaluated_get(depsgraph)
    mesh = seen.to_mesh()
    try:
        mesh.calc_loop_triangles()
        if not len(mesh.loop_triangles):
            raise NotGathered(f"{found.name} has no faces: choose another object")
        if len(mesh.vertices) > MESH_VERTICES or len(mesh.loop_triangles) > MESH_TRIANGLES:
            raise NotGathered(f"{found.name} has more than {MESH_TRIANGLES:,} triangles: decimate it first")
        return _shape(found, mesh, where)
    finally:
        seen.to_mesh_clear()


def _shape(found: bpy.types.Object, mesh: bpy.types.Mesh, where: str) -> Shape:
    vertices = _numbers(mesh.vertices, "co", 3, np.float32)
    triangles = _numbers(mesh.loop_triangles, "vertices", 3, np.int32)
    loops = _numbers(mesh.loop_triangles, "loops", 3, np.int32)
    polygons = _numbers(mesh.loop_triangles, "polygon_index", 1, np.int32).ravel()
    world = np.array(found.matrix_world, np.float64)
    if np.linalg.det(world[:3, :3]) < 0:  # mirrored: outside stays outside
        triangles, loops = triangles[:, ::-1], loops[:, ::-1]
    loops = np.ascontiguousarray(loops).ravel()
    layer = mesh.uv_layers.active
    own = _same_faces(mesh, found.data)
    mask = None if where == EVERYWHERE else _mask(found, mesh, where)[polygons].astype(np.uint8)
    if mask is not None and not mask.any():
        raise NotGathered(f"No face of {found.name} is marked: select some in Edit mode, or paint everywhere")
    if mask is not None and not own:
        raise NotGathered(f"The modifiers of {found.name} make other faces: apply them, or paint everywhere")
    return Shape(
        vertices=(vertices @ world[:3, :3].T + world[:3, 3]).astype(np.float32),
        triangles=np.ascontiguousarray(triangles, np.uint32),
        uvs=np.ascontiguousarray(uvs_of(layer)[loops]) if layer else None,
        mask=mask,
        loops=loops if own else None,
        polygons=polygons if own else None,
    )


def uvs_of(layer: bpy.types.MeshUVLoopLayer) -> np.ndarray:
    """(L, 2)."""
    return _numbers(layer.uv, "vector", 2, np.float32)


def unwrapped(context: bpy.types.Context, found: bpy.types.Object) -> np.ndarray:
    """Texture coordinates (L, 2) that give every face of the object's own mesh a place of its own.

    Blender unwraps only what is being edited, so a copy is, and is gone afterwards.
    """
    layer = context.view_layer
    selected, active = list(layer.objects.selected), layer.objects.active
    mesh = found.data.copy()
    copy = bpy.data.objects.new(found.name, mesh)
    context.scene.collection.objects.link(copy)
    try:
        for other in selected:
            other.select_set(False)
        layer.objects.active = copy
        copy.select_set(True)
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.reveal(select=False)
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(island_margin=_MARGIN)
        bpy.ops.object.mode_set(mode="OBJECT")  # before that the mesh does not have them
        return uvs_of(mesh.uv_layers.active)
    except RuntimeError as error:
        raise NotGathered(f"{found.name} cannot be unwrapped: make a UV map for it") from error
    finally:
        if copy.mode == "EDIT":
            bpy.ops.object.mode_set(mode="OBJECT")
        bpy.data.objects.remove(copy)
        bpy.data.meshes.remove(mesh)
        for other in selected:
            other.select_set(True)
        layer.objects.active = active


def pixels_of(image: bpy.types.Image) -> Pixels:
    """The pixels of an image, as it was drawn on last. Raises NotGathered."""
    width, height = image.size
    if not width or not height:
        raise NotGathered(f"{image.name} has no pixels: choose another image")
    if max(width, height) > PICTURE_MOST:
        raise NotGathered(f"{image.name} has more than {PICTURE_MOST} pixels a side: make it smaller")
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)  # a copy of the image, which could be scaled, would lack what was drawn on it
    return Pixels(values.reshape(height, width, image.channels)[::-1], image.is_float)


def _numbers(items: object, name: str, width: int, kind: type) -> np.ndarray:
    found = np.empty(len(items) * width, kind)
    items.foreach_get(name, found)
    return found.reshape(-1, width)


def _same_faces(seen: bpy.types.Mesh, own: bpy.types.Mesh) -> bool:
    """Whether modifiers have moved vertices at most."""

    def faces(mesh: bpy.types.Mesh) -> tuple[np.ndarray, np.ndarray]:
        return _numbers(mesh.loops, "vertex_index", 1, np.int32), _numbers(mesh.polygons, "loop_start", 1, np.int32)

    return len(seen.vertices) == len(own.vertices) and all(map(np.array_equal, faces(seen), faces(own)))


def _mask(found: bpy.types.Object, mesh: bpy.types.Mesh, where: str) -> np.ndarray:
    """(polygons,), whether each is painted."""
    if where == SELECTED:
        return _numbers(mesh.polygons, "select", 1, bool).ravel()
    return _numbers(mesh.polygons, "material_index", 1, np.int32).ravel() == found.active_material_index
