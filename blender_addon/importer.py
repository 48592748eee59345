"""From a job's results to an ordinary Blender object: mesh, texture, material, collection.

Everything is made through bpy.data, without operators, so that it works in every mode and touches nothing else. It
comes whole or not at all.
"""

import json
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from . import glb
from .glb import GlbError, Model

COLLECTION = "DreamTime"

_CREASE_COSINE = np.cos(np.radians(40.0))
"""Edges whose faces meet at a sharper angle are creases; the backend's own files are shaded alike."""

_ROUGHNESS = 0.8
_RECIPE = "dreamtime_recipe"


class ImportFailed(Exception):
    """One sentence for the artist."""


def import_job(context: bpy.types.Context, folder: Path, prompt: str, job: str, size: float) -> bpy.types.Object:
    """Put the object in `folder` into the scene, standing at the 3D cursor.

    size: its largest extent in metres, whatever the scene's unit. Raises ImportFailed.
    """
    try:
        model = glb.read((folder / "mesh.glb").read_bytes())
    except OSError as error:
        raise ImportFailed(f"The result cannot be read ({error.strerror}): fetch it again") from error
    except GlbError as error:
        raise ImportFailed(f"{str(error).capitalize()}: generate it again") from error
    name = _name(prompt)
    made: list[bpy.types.ID] = []
    try:
        found = _object(name, model, size / context.scene.unit_settings.scale_length, made)
        found.matrix_world = context.scene.cursor.matrix
        found["dreamtime_prompt"], found["dreamtime_job"] = prompt, job
        found["dreamtime_seed"] = model.recipe.get("seed", 0)
        found[_RECIPE] = json.dumps(model.recipe)
        _collection(context.scene).objects.link(found)
    except (RuntimeError, ValueError, TypeError) as error:
        for thing in reversed(made):
            bpy.data.batch_remove([thing])
        raise ImportFailed(f"Blender cannot take the object ({error}): generate it again") from error
    _select(context, found)
    return found


def mark_asset(found: bpy.types.Object, preview: Path) -> None:
    """Offer the object in the asset browser, under its prompt."""
    found.asset_mark()
    found.asset_data.description = found["dreamtime_prompt"]
    for tag in ("DreamTime", *found["dreamtime_prompt"].split()):
        found.asset_data.tags.new(tag, skip_if_exists=True)
    found.asset_generate_preview()


def base(vertices: np.ndarray) -> np.ndarray:
    """The middle of the lowest level: where an object stands."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = (low + high) / 2
    middle[2] = low[2]
    return middle


def scaled(vertices: np.ndarray, size: float) -> np.ndarray:
    """The vertices with the origin where the object stands and its largest extent `size`."""
    extent = float((vertices.max(axis=0) - vertices.min(axis=0)).max())
    return ((vertices - base(vertices)) * (size / extent)).astype(np.float32) if extent else vertices


def _name(prompt: str) -> str:
    """What the object is called: "Red Mug" for "a red mug"."""
    words = [word for word in prompt.split() if word.lower() not in {"a", "an", "the"}]
    return " ".join(words or ["Object"]).title()[:60]


def _object(name: str, model: Model, size: float, made: list[bpy.types.ID]) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    made.append(mesh)
    fill(mesh, scaled(model.vertices, size), model.triangles)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", model.uvs.ravel())
    _shade(mesh)
    mesh.materials.append(_material(name, model.texture, made))
    found = bpy.data.objects.new(name, mesh)
    made.append(found)
    return found


def fill(mesh: bpy.types.Mesh, vertices: np.ndarray, triangles: np.ndarray) -> None:
    """Make `mesh`, which is empty, of these vertices and triangles."""
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.loops.add(3 * len(triangles))
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(triangles, np.int32).ravel())
    mesh.polygons.add(len(triangles))
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * len(triangles), 3, dtype=np.int32))
    mesh.update(calc_edges=True)


def _shade(mesh: bpy.types.Mesh) -> None:
    """Smooth, but for edges at which the surface turns sharply: an attribute that every Blender since 4.1 heeds."""
    normals = np.empty(3 * len(mesh.polygons), np.float32)
    mesh.polygons.foreach_get("normal", normals)
    edges = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", edges)
    order = np.argsort(edges, kind="stable")
    ranked, faces = edges[order], (order // 3)
    first = np.flatnonzero(np.r_[ranked[1:] == ranked[:-1], False])
    cosines = np.einsum("ij,ij->i", *(normals.reshape(-1, 3)[faces[first + step]] for step in (0, 1)))
    sharp = np.zeros(len(mesh.edges), bool)
    sharp[ranked[first]] = cosines < _CREASE_COSINE
    attribute = mesh.attributes.new("sharp_edge", "BOOLEAN", "EDGE")
    attribute.data.foreach_set("value", sharp)


def _material(name: str, png: bytes, made: list[bpy.types.ID]) -> bpy.types.Material:
    image = bpy.data.images.new(name, 1, 1)
    made.append(image)
    image.source = "FILE"
    image.pack(data=png, data_len=len(png))
    image.filepath_raw = f"//{name}.png"
    image.colorspace_settings.name = "sRGB"
    material = bpy.data.materials.new(name)
    made.append(material)
    material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = _ROUGHNESS
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image, texture.location = image, shader.location + Vector((-320, 0))
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    return material


def _collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The add-on's collection, in the scene again if somebody unlinked it."""
    collection = bpy.data.collections.get(COLLECTION) or bpy.data.collections.new(COLLECTION)
    if collection not in scene.collection.children_recursive:
        scene.collection.children.link(collection)
    return collection


def _select(context: bpy.types.Context, found: bpy.types.Object) -> None:
    """Select the new object alone, unless something is being edited."""
    layer = context.view_layer
    if layer.objects.active is not None and layer.objects.active.mode != "OBJECT":
        return
    for other in layer.objects.selected:
        other.select_set(False)
    if found.name in layer.objects:  # the collection may be hidden from this view layer
        found.select_set(True)
        layer.objects.active = found
