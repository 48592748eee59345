"""An import is one step of undo, in Object and in Edit mode, and its texture survives undo, redo, save and reopen."""

import sys
from pathlib import Path
from typing import ClassVar

import bpy
import numpy as np
from desk import module

folder = Path(sys.argv[1])
importer = module("importer")
JOB = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"


class Bring(bpy.types.Operator):
    bl_idname = "test.bring"
    bl_label = "Bring"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        importer.import_job(context, folder, "a red mug", JOB, 1.0)
        return {"FINISHED"}


def bring() -> None:
    assert bpy.ops.test.bring("EXEC_DEFAULT", True) == {"FINISHED"}


def counts() -> dict[str, int]:
    return {kind: len(getattr(bpy.data, kind)) for kind in ("objects", "meshes", "materials", "images", "collections")}


def pixels() -> np.ndarray:
    nodes = bpy.data.objects["Red Mug"].data.materials[0].node_tree.nodes
    image = next(node for node in nodes if node.type == "TEX_IMAGE").image
    assert (image.packed_file is not None, tuple(image.size)) == (True, (64, 64))
    return np.array(image.pixels[:])


bpy.utils.register_class(Bring)
bpy.ops.object.select_all(action="DESELECT")
bpy.ops.ed.undo_push(message="start")
before = counts()
bring()
after, colours = counts(), pixels()
assert all(after[kind] == before[kind] + 1 for kind in before), (before, after)
for _ in range(5):
    bpy.ops.ed.undo()
    assert counts() == before, (counts(), before)
    assert [thing.name for thing in bpy.context.selected_objects] == []
    bpy.ops.ed.redo()
    assert counts() == after, (counts(), after)
    assert bpy.data.objects["Red Mug"].data.users == 1
    assert [thing.name for thing in bpy.context.selected_objects] == ["Red Mug"]
    assert np.array_equal(pixels(), colours)

path = str(folder / "undone.blend")
bpy.ops.wm.save_as_mainfile(filepath=path)
bpy.ops.wm.open_mainfile(filepath=path)
assert np.array_equal(pixels(), colours)
assert bpy.data.images[bpy.data.objects["Red Mug"].data.name].users == 1

# --- in Edit mode and in Sculpt mode ---
for mode in ("EDIT", "SCULPT"):
    bpy.ops.wm.open_mainfile(filepath=path)
    edited = bpy.context.view_layer.objects.active
    vertices = len(edited.data.vertices)
    bpy.ops.object.mode_set(mode=mode)
    bpy.ops.ed.undo_push(message="in another mode")
    bring()
    assert (edited.mode, bpy.context.view_layer.objects.active) == (mode, edited)
    assert "Red Mug.001" in bpy.data.objects
    bpy.ops.ed.undo()
    bpy.ops.ed.redo()
    edited = bpy.data.objects["Red Mug"]
    assert edited.mode == mode
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(edited.data.vertices) == vertices
bpy.utils.unregister_class(Bring)  # Blender 4.5 as a module does not end otherwise
print("undone and done again as it should be")
