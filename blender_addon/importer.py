"""From a job's results to an ordinary Blender object: mesh, texture, material, collection.

Everything is made through bpy.data, without operators, so that it works in every mode and touches nothing else. It
comes whole or not at all.
"""

import itertools
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from . import compat, glb
from .glb import GlbError, Model
from .shared.limits import SEEDS
from .shared.names import named, words

COLLECTION = "DreamTime"
_OWN = re.compile(rf"{COLLECTION}(\.\d+)?")

_ROUGHNESS = 0.8


class ImportFailed(Exception):
    """One sentence for the artist."""


class Unreadable(ImportFailed):
    """The results are not here any more, or not whole."""


def import_job(context: bpy.types.Context, folder: Path, prompt: str, job: str, size: float) -> bpy.types.Object:
    """Put the object in `folder` into the scene, standing at the 3D cursor.

    size: its largest extent in metres, whatever the scene's unit. Raises ImportFailed.
    """
    try:
        model = glb.read((folder / "mesh.glb").read_bytes())
        with ExitStack() as undoing:  # whatever goes wrong, all that was made until then is removed
            found = _object(unused(named(prompt)), model, in_units(context.scene, size), undoing)
            found.matrix_world = context.scene.cursor.matrix
            found["dreamtime_prompt"], found["dreamtime_job"] = prompt, job
            _remember(found, model.recipe)
            _place(context, found, undoing)
            undoing.pop_all()
    except OSError as error:
        raise Unreadable(f"The result cannot be read ({error.strerror}): fetch it again") from error
    except GlbError as error:
        raise ImportFailed(f"{str(error).capitalize()}: generate it again") from error
    except MemoryError as error:
        raise ImportFailed("There is too little memory for the object: close other files or programs") from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise ImportFailed(f"Blender cannot take the object ({str(error).strip()}): generate it again") from error
    _select(context, found)
    return found


def mark_asset(found: bpy.types.Object) -> None:
    """Offer the object in the asset browser, under its prompt."""
    found.asset_mark()
    found.asset_data.description = found["dreamtime_prompt"]
    for tag in ("DreamTime", *words(found["dreamtime_prompt"])):
        found.asset_data.tags.new(tag, skip_if_exists=True)
    found.asset_generate_preview()


def base(vertices: np.ndarray) -> np.ndarray:
    """The middle of the lowest level: where an object stands."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = (low + high) / 2
    middle[2] = low[2]
    return middle


def in_units(scene: bpy.types.Scene, metres: float) -> float:
    """A length in the scene's units. Without a unit system the scale means nothing."""
    settings = scene.unit_settings
    return metres if settings.system == "NONE" else metres / settings.scale_length


def scaled(vertices: np.ndarray, size: float) -> np.ndarray:
    """The vertices with the origin where the object stands and its largest extent `size`."""
    vertices = vertices.astype(np.float64)  # differences of float32 may be too large for it
    extent = float((vertices.max(axis=0) - vertices.min(axis=0)).max())
    return ((vertices - base(vertices)) * (size / extent)).astype(np.float32) if extent else vertices * 0


def unused(name: str) -> str:
    """The name, with a number if anything has it: all that is made for one object is called alike.

    Exporters put textures side by side, by their names or by the ends of their paths. To some file systems case makes
    no difference, and to Blender a library's data may be called as others are.
    """
    data = bpy.data
    taken = {one.name.casefold() for kind in (data.objects, data.meshes, data.materials, data.images) for one in kind}
    taken |= {Path(bpy.path.basename(image.filepath)).stem.casefold() for image in data.images}
    numbered = (f"{name}.{number:03}" for number in itertools.count(1))
    return next(each for each in itertools.chain([name], numbered) if each.casefold() not in taken)


def _object(name: str, model: Model, size: float, undoing: ExitStack) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    undoing.callback(bpy.data.meshes.remove, mesh)
    fill(mesh, scaled(model.vertices, size), model.triangles)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", model.uvs.ravel())
    _shade(mesh, model)
    mesh.validate()  # welding may have made lines of triangles
    if not mesh.polygons:
        raise ValueError("it has no surface")
    mesh.materials.append(material(name, model.texture, undoing))
    found = bpy.data.objects.new(name, mesh)
    undoing.callback(bpy.data.objects.remove, found)
    return found


def _remember(found: bpy.types.Object, recipe: dict[str, Any]) -> None:
    """Keep the recipe with the object, and by themselves what artists look for in it."""
    model = recipe.get("model")
    known = {"preset": recipe.get("preset"), "model": model.get("name") if isinstance(model, dict) else None}
    for key, value in known.items():
        if isinstance(value, str):
            found[f"dreamtime_{key}"] = value
    seed = recipe.get("seed")
    if type(seed) is int and 0 <= seed < SEEDS:
        found["dreamtime_seed"] = seed
    found["dreamtime_recipe"] = json.dumps(recipe)


def fill(mesh: bpy.types.Mesh, vertices: np.ndarray, triangles: np.ndarray) -> None:
    """Make `mesh`, which is empty, of these vertices and triangles."""
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.loops.add(3 * len(triangles))
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(triangles, np.int32).ravel())
    mesh.polygons.add(len(triangles))
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * len(triangles), 3, dtype=np.int32))
    mesh.update(calc_edges=True)


def _shade(mesh: bpy.types.Mesh, model: Model) -> None:
    """Flat faces if they were asked for, or smooth ones with sharp edges where the file's normals break off.

    Both are attributes that every Blender since 4.1 heeds, without a modifier, and that artists can edit.
    """
    settings = model.recipe.get("mesh")
    if isinstance(settings, dict) and settings.get("shading") == "flat":
        mesh.shade_flat()
        return
    mesh.shade_smooth()
    edge_of = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", edge_of)
    sharp = np.zeros(len(mesh.edges), bool)
    sharp[edge_of[model.sharp]] = True
    mesh.edges.foreach_set("use_edge_sharp", sharp)


def material(name: str, png: bytes, undoing: ExitStack) -> bpy.types.Material:
    image = bpy.data.images.new(name, 1, 1)
    undoing.callback(bpy.data.images.remove, image)
    image.source = "FILE"
    image.pack(data=png, data_len=len(png))
    image.filepath_raw = f"//{image.name}.png"  # the USD exporter takes the one for the other
    image.colorspace_settings.name = "sRGB"
    if not image.size[0]:  # asking for the size decodes it: now, and not when it is first drawn
        raise ValueError("its texture is damaged")
    material = bpy.data.materials.new(name)
    undoing.callback(bpy.data.materials.remove, material)
    tree = compat.node_tree(material)
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = _ROUGHNESS
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image, texture.location = image, shader.location + Vector((-320, 0))
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    return material


def _place(context: bpy.types.Context, found: bpy.types.Object, undoing: ExitStack) -> None:
    """Put the object into the add-on's collection, or beside it if that is excluded from this view layer or hidden.

    A local view (numpad /) needs no care: Blender shows new objects in all of them.
    """
    collection = _collection(context.scene, undoing)
    collection.objects.link(found)
    if not found.visible_get(view_layer=context.view_layer):
        collection.objects.unlink(found)
        context.scene.collection.objects.link(found)  # the one that cannot be hidden


def _collection(scene: bpy.types.Scene, undoing: ExitStack) -> bpy.types.Collection:
    """The add-on's collection of this scene, in the scene again if somebody unlinked it."""
    own = [one for one in bpy.data.collections if _is_own(one)]
    here = next((one for one in scene.collection.children_recursive if one in own), None)
    if here:
        return here
    elsewhere = {one for other in bpy.data.scenes for one in other.collection.children_recursive}
    collection = next((one for one in own if one not in elsewhere), None)
    if collection is None:
        collection = bpy.data.collections.new(COLLECTION)
        undoing.callback(bpy.data.collections.remove, collection)
    scene.collection.children.link(collection)
    undoing.callback(scene.collection.children.unlink, collection)
    return collection


def _is_own(collection: bpy.types.Collection) -> bool:
    """Whether it is the add-on's by its name, and not linked from a library: then it would take no objects."""
    return collection.library is None and _OWN.fullmatch(collection.name) is not None


def _select(context: bpy.types.Context, found: bpy.types.Object) -> None:
    """Select the new object alone, unless something is being edited."""
    layer = context.view_layer
    if layer.objects.active is not None and layer.objects.active.mode != "OBJECT":
        return
    for other in layer.objects.selected:
        other.select_set(False)
    found.select_set(True)
    layer.objects.active = found
