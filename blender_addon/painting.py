"""New colours for the artist's own object: a material slot with the picture, and nothing else of the object changes."""

from contextlib import ExitStack
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import compat, gathering, glb, importer
from .gathering import NotGathered, Shape
from .glb import GlbError, Model
from .importer import ImportFailed
from .shared import meshes
from .shared.names import named

_BESIDE = 1.2
"""Extents between an object and what was made of it."""

_ALIKE = 1e-4
"""Texture coordinates that differ by more are others: files hold them as float32, upside down."""


def original(scene: bpy.types.Scene, name: str) -> bpy.types.Object | None:
    """The object that a job began from, if it is still there."""
    found = scene.objects.get(name)
    return found if found is not None and found.type == "MESH" else None


def put_beside(made: bpy.types.Object, found: bpy.types.Object) -> None:
    """Move what was made of an object to its right, as large as that is."""
    corners = np.array([found.matrix_world @ Vector(corner) for corner in found.bound_box])
    low, high = corners.min(axis=0), corners.max(axis=0)
    extent, own = float((high - low).max()), max(made.dimensions)
    if not extent or not own:
        return
    made.data.transform(Matrix.Scale(extent / own, 4))
    width = float(high[0] - low[0])
    middle = importer.base(corners)
    made.matrix_world = Matrix.Translation((middle[0] + _BESIDE * max(width, extent), middle[1], middle[2]))


def paint(context: bpy.types.Context, found: bpy.types.Object, folder: Path, given: Path, prompt: str) -> None:
    """Give an object the colours in `folder`, which were made for what was sent, `given`; whole or not at all.

    Raises ImportFailed.
    """
    if found.mode == "EDIT":
        raise ImportFailed(f"{found.name} is being edited: leave Edit mode, then import again")
    try:
        model, sent = glb.read((folder / "mesh.glb").read_bytes()), meshes.unpack(given.read_bytes())
        shape = gathering.shape_of(found, context.evaluated_depsgraph_get())
        mask = None if sent.mask is None else np.frombuffer(sent.mask, np.uint8).astype(bool)
        if not len(shape.triangles) == len(model.triangles) == len(sent.triangles) // 3:
            raise ImportFailed(f"{found.name} has other faces than when it was sent: generate it again")
        with ExitStack() as undoing:
            layer = _layer(found, shape, model, undoing)
            _slot(found, shape, mask, layer, model.texture, prompt, undoing)
            undoing.pop_all()
    except OSError as error:
        raise importer.Unreadable(f"The result cannot be read ({error.strerror}): fetch it again") from error
    except NotGathered as error:
        raise ImportFailed(str(error)) from error
    except GlbError as error:
        raise ImportFailed(f"{str(error).capitalize()}: generate it again") from error
    except MemoryError as error:
        raise ImportFailed("There is too little memory for the colours: close other files or programs") from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise ImportFailed(f"Blender cannot take the colours ({str(error).strip()}): generate it again") from error


def _layer(found: bpy.types.Object, shape: Shape, model: Model, undoing: ExitStack) -> str:
    """The name of the UV map that the picture is laid out on: the object's own, or a new one."""
    mesh = found.data
    if shape.uvs is not None and np.abs(shape.uvs - model.uvs).max() <= _ALIKE:
        return str(mesh.uv_layers.active.name)
    if shape.loops is None:
        raise ImportFailed(
            f"{found.name} leaves its faces no room on its UV map: apply its modifiers and unwrap it anew"
        )
    uvs = np.zeros((len(mesh.loops), 2), np.float32)
    uvs[shape.loops] = model.uvs
    if np.abs(uvs[shape.loops] - model.uvs).max() > _ALIKE:
        raise ImportFailed(f"The UV map of {found.name} leaves its faces no room: generate it again with a new one")
    layer = mesh.uv_layers.new(name=importer.COLLECTION, do_init=False)
    if layer is None:
        raise ImportFailed(f"{found.name} has eight UV maps, which is all that Blender allows: remove one")
    name = str(layer.name)
    undoing.callback(lambda: mesh.uv_layers.remove(mesh.uv_layers[name]))
    layer.uv.foreach_set("vector", uvs.ravel())
    return name


def _slot(
    found: bpy.types.Object,
    shape: Shape,
    mask: np.ndarray | None,
    layer: str,
    png: bytes,
    prompt: str,
    undoing: ExitStack,
) -> None:
    """A new material slot for the faces that were painted."""
    mesh = found.data
    polygons = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", polygons)
    if mask is None:
        painted = np.ones(len(polygons), bool)
    elif shape.polygons is None:
        raise ImportFailed(f"The modifiers of {found.name} make other faces: apply them, and generate it again")
    else:
        painted = np.zeros(len(polygons), bool)
        painted[shape.polygons[mask]] = True
    material = importer.material(importer.unused(named(prompt)), png, undoing)
    _on(material, layer)
    mesh.materials.append(material)
    undoing.callback(mesh.materials.pop)
    polygons[painted] = len(mesh.materials) - 1
    mesh.polygons.foreach_set("material_index", polygons)
    mesh.update()


def _on(material: bpy.types.Material, layer: str) -> None:
    """Lay the material's picture out on that UV map, whichever is the active one."""
    tree = compat.node_tree(material)
    texture = next(node for node in tree.nodes if node.type == "TEX_IMAGE")
    uvs = tree.nodes.new("ShaderNodeUVMap")
    uvs.uv_map, uvs.location = layer, (texture.location[0] - 220, texture.location[1])
    tree.links.new(uvs.outputs["UV"], texture.inputs["Vector"])
