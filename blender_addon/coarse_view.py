"""The rough shape of a job, in the viewport while it is made: one object per job, replaced in place.

It is Blender's for the time being only: not rendered, not selectable, in nobody's file, and gone when the job ends.
Undo and redo may bring back one that was removed, or take one away: the former is removed again, the latter comes back
with the next preview.
"""

from collections.abc import Callable

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import compat, importer
from .shared import coarse

_MATERIAL = "DreamTime Preview"
_MARK = "dreamtime_preview"
_COLOUR = "Colour"
_GAMMA = 2.2
"""From display values to light, well enough for the plain colour of solid mode."""

_shown: set[str] = set()
"""Jobs whose coarse meshes belong into the viewport."""


def show(job: str, packed: bytes, scene: bpy.types.Scene, size: float) -> None:
    """Show a coarse mesh, instead of the one before it. Bytes that are none are passed over: others follow."""
    try:
        shape = coarse.unpack(packed)
    except ValueError:
        return
    vertices = np.frombuffer(shape.vertices, np.float32).reshape(-1, 3)
    triangles = np.frombuffer(shape.triangles, np.uint32).reshape(-1, 3)
    colours = np.frombuffer(shape.colours, np.uint8).reshape(-1, 3)
    found = _found(job) or _new(job, scene)
    _shown.add(job)
    mesh = found.data
    mesh.clear_geometry()
    importer.fill(mesh, importer.scaled(vertices, importer.in_units(scene, size)), triangles)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(triangles), bool))
    rgba = np.ones((len(vertices), 4), np.float32)
    rgba[:, :3] = colours / 255.0
    layer = mesh.color_attributes.get(_COLOUR) or mesh.color_attributes.new(_COLOUR, "BYTE_COLOR", "POINT")
    layer.data.foreach_set("color_srgb", rgba.ravel())
    mesh.validate()
    for material in mesh.materials:
        if material:  # somebody may have removed it
            material.diffuse_color[:3] = ((colours / 255.0) ** _GAMMA).mean(axis=0)


def remove(job: str) -> None:
    """Take a job's coarse mesh away, if there is one."""
    _shown.discard(job)
    _remove([thing for thing in bpy.data.objects if thing.get(_MARK) == job])


def remove_all() -> None:
    """Take all away: the artist does not want them, or the add-on is disabled."""
    _shown.clear()
    _remove([thing for thing in bpy.data.objects if _MARK in thing])


def _remove(objects: list[bpy.types.Object]) -> None:
    """Objects with their meshes and materials, which a copied scene may share: all at once."""
    meshes = {found.data for found in objects}
    materials = {material for mesh in meshes for material in mesh.materials if material and _MARK in material}
    bpy.data.batch_remove({*objects, *meshes, *materials})


@persistent
def _before_saving(*_: object) -> None:
    """Nothing of it is in sight of who saves; the next preview brings it back."""
    _remove([thing for thing in bpy.data.objects if _MARK in thing])


@persistent
def _remove_stale(*_: object) -> None:
    """Blender's data were exchanged for those of another time or file."""
    _remove([thing for thing in bpy.data.objects if thing.get(_MARK, None) not in {None, *_shown}])


def _handlers() -> tuple[list[Callable[..., None]], ...]:
    return bpy.app.handlers.undo_post, bpy.app.handlers.redo_post, bpy.app.handlers.load_post


def register() -> None:
    for handlers in _handlers():
        handlers.append(_remove_stale)
    bpy.app.handlers.save_pre.append(_before_saving)


def unregister() -> None:
    for handlers in _handlers():
        handlers.remove(_remove_stale)
    bpy.app.handlers.save_pre.remove(_before_saving)
    remove_all()


def _found(job: str) -> bpy.types.Object | None:
    # Looked up anew each time: after an undo, references to Blender's data are void.
    return next((thing for thing in bpy.data.objects if thing.get(_MARK) == job), None)


def _new(job: str, scene: bpy.types.Scene) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(_MATERIAL)
    mesh.materials.append(_material())
    found = bpy.data.objects.new(_MATERIAL, mesh)
    for part in (found, mesh, mesh.materials[0]):
        part.is_runtime_data = True  # automatic saves, which no handler hears of, leave it out, too
    found[_MARK] = job
    found.hide_render = found.hide_select = True
    found.matrix_world = scene.cursor.matrix
    scene.collection.objects.link(found)
    return found


def _material() -> bpy.types.Material:
    material = bpy.data.materials.new(_MATERIAL)
    material[_MARK] = ""
    tree = compat.node_tree(material)
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 0.8
    colour = tree.nodes.new("ShaderNodeVertexColor")
    colour.layer_name = _COLOUR
    tree.links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    return material
