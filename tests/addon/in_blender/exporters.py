"""Two results of one prompt go through every exporter of Blender's, and come back each with its own texture."""

import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
from desk import module

*results, out = map(Path, sys.argv[1:])
importer = module("importer")
JOB = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"
APART = 5.0


def image(thing: bpy.types.Object) -> bpy.types.Image:
    (node,) = (node for node in thing.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")
    return node.image


def pixels(thing: bpy.types.Object) -> np.ndarray:
    found = image(thing)
    return np.array(found.pixels[:]).reshape(*found.size, -1)[..., :3]


def place(thing: bpy.types.Object) -> int:
    """Which of the two it is, whatever it is called now."""
    return round((thing.matrix_world @ thing.data.vertices[0].co).x / APART)


def obj(filepath: str) -> None:
    # It writes no packed images: "Unpack and place the image in the same directory as the .MTL file", it says.
    for thing in bpy.data.objects:
        name = bpy.path.basename(image(thing).filepath)
        image(thing).save(filepath=str(Path(filepath).with_name(name)), save_copy=True)
    bpy.ops.wm.obj_export(filepath=filepath)


def fbx(filepath: str) -> None:
    bpy.ops.export_scene.fbx(filepath=filepath, path_mode="COPY", embed_textures=True)


def separate(filepath: str) -> None:
    bpy.ops.export_scene.gltf(filepath=filepath, export_format="GLTF_SEPARATE")


FORMATS: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "fbx": (fbx, bpy.ops.wm.fbx_import),
    "usdc": (bpy.ops.wm.usd_export, bpy.ops.wm.usd_import),
    "usdz": (bpy.ops.wm.usd_export, bpy.ops.wm.usd_import),
    "obj": (obj, bpy.ops.wm.obj_import),
    "glb": (bpy.ops.export_scene.gltf, bpy.ops.import_scene.gltf),
    "gltf": (separate, bpy.ops.import_scene.gltf),
}

for prompt in ("a red hat", 'the [old] "red/blue" hat #1, 50% off: v2.0'):
    bpy.ops.wm.read_homefile(use_empty=True)
    made = []
    for number, result in enumerate(results):
        bpy.context.scene.cursor.location.x = number * APART
        made.append(importer.import_job(bpy.context, result, prompt, JOB, 1.0))
    textures = [pixels(thing) for thing in made]
    assert not np.array_equal(*textures)
    files = {name: out / importer.named(prompt) / name / f"scene.{name}" for name in FORMATS}
    for name, (export, _) in FORMATS.items():
        files[name].parent.mkdir(parents=True)
        export(filepath=str(files[name]))
    for name, (_, bring_back) in FORMATS.items():
        bpy.ops.wm.read_homefile(use_empty=True)
        bring_back(filepath=str(files[name]))
        bpy.context.view_layer.update()
        found = {place(thing): pixels(thing) for thing in bpy.data.objects if thing.type == "MESH"}
        assert sorted(found) == [0, 1], (name, found)
        for number, texture in enumerate(textures):
            assert np.allclose(found[number], texture, atol=0.01), (name, prompt, number)
print("each with its own texture")
