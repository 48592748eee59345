"""The rough shape of a job, in the viewport while it is made: one object per job, replaced in place.

It is Blender's for the time being only: not rendered, not selectable, and gone when the job ends.
"""

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import importer
from .shared import coarse

_MATERIAL = "DreamTime Preview"
_MARK = "dreamtime_preview"
_COLOUR = "Colour"


def show(job: str, packed: bytes, size: float) -> None:
    """Show a coarse mesh, instead of the one before it. Bytes that are none are passed over: others follow."""
    try:
        shape = coarse.unpack(packed)
    except ValueError:
        return
    vertices = np.frombuffer(shape.vertices, np.float32).reshape(-1, 3)
    triangles = np.frombuffer(shape.triangles, np.uint32).reshape(-1, 3)
    colours = np.frombuffer(shape.colours, np.uint8).reshape(-1, 3)
    found = _found(job) or _new(job)
    mesh = found.data
    mesh.clear_geometry()
    scale = size / bpy.context.scene.unit_settings.scale_length
    importer.fill(mesh, importer.scaled(vertices, scale), triangles)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(triangles), bool))
    rgba = np.ones((len(vertices), 4), np.float32)
    rgba[:, :3] = colours / 255.0
    layer = mesh.color_attributes.get(_COLOUR) or mesh.color_attributes.new(_COLOUR, "BYTE_COLOR", "POINT")
    layer.data.foreach_set("color_srgb", rgba.ravel())
    mesh.update()


def remove(job: str) -> None:
    """Take a job's coarse mesh away, if there is one."""
    found = _found(job)
    if found is not None:
        mesh = found.data
        bpy.data.objects.remove(found)
        bpy.data.meshes.remove(mesh)
    material = bpy.data.materials.get(_MATERIAL)
    if material is not None and material.users == 0:
        bpy.data.materials.remove(material)


def remove_all() -> None:
    """Take all away: of jobs that were running when the file was saved, or when the add-on is disabled."""
    for found in [thing for thing in bpy.data.objects if _MARK in thing]:
        remove(found[_MARK])


@persistent
def _before_saving(*_: object) -> None:
    """It belongs into nobody's file; the next preview brings it back."""
    remove_all()


def register() -> None:
    bpy.app.handlers.save_pre.append(_before_saving)


def unregister() -> None:
    bpy.app.handlers.save_pre.remove(_before_saving)
    remove_all()


def _found(job: str) -> bpy.types.Object | None:
    # Looked up anew each time: after an undo, references to Blender's data are void.
    return next((thing for thing in bpy.data.objects if thing.get(_MARK) == job), None)


def _new(job: str) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(_MATERIAL)
    mesh.materials.append(bpy.data.materials.get(_MATERIAL) or _material())
    found = bpy.data.objects.new(_MATERIAL, mesh)
    found[_MARK] = job
    found.hide_render = found.hide_select = True
    found.matrix_world = bpy.context.scene.cursor.matrix
    bpy.context.scene.collection.objects.link(found)
    return found


def _material() -> bpy.types.Material:
    material = bpy.data.materials.new(_MATERIAL)
    material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 0.8
    colour = tree.nodes.new("ShaderNodeVertexColor")
    colour.layer_name = _COLOUR
    tree.links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    return material
