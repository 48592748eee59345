"""From Generate to an object in the scene, with the backend itself; undone, redone, saved and opened again."""

import sys

import bpy
from desk import book, connected, generate, module, until

until(connected)
bpy.context.scene.cursor.location = (1.0, 0.0, 0.0)
coarse = []
job = generate("a red mug", preset="draft", seed=3, lock_seed=True)
until(lambda: book().entries[job].previews > 0)
assert module("runtime").current().thumbnail(job).read_bytes().startswith(b"\x89PNG")
until(lambda: any(thing.get("dreamtime_preview") == job for thing in bpy.data.objects))
rough = next(thing for thing in bpy.data.objects if "dreamtime_preview" in thing)
assert rough.hide_render
assert len(rough.data.polygons) > 100
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1])  # while it is made: the rough shape belongs into nobody's file
assert not any("dreamtime_preview" in thing for thing in bpy.data.objects)

until(lambda: book().entries[job].imported)
found = bpy.data.objects["Red Mug"]
assert tuple(found.location) == (1.0, 0.0, 0.0)
assert found["dreamtime_job"] == job
assert 1000 < len(found.data.polygons) <= 5000
assert abs(max(found.dimensions) - 1.0) < 1e-3
assert not any("dreamtime_preview" in thing for thing in bpy.data.objects)
texture = next(node for node in found.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")
assert texture.image.packed_file is not None
pixels = texture.image.pixels[:]
red, green, blue = (sum(pixels[channel::4]) for channel in range(3))
assert red > 2 * green, (red, green, blue)
assert red > 2 * blue
assert module("session.wording").outcome(book().entries[job]) == "In the scene"

bpy.ops.ed.undo_push(message="after")
bpy.ops.object.select_all(action="DESELECT")
bpy.ops.dreamtime.import_result("EXEC_DEFAULT", True, job=job)
assert "Red Mug.001" in bpy.data.objects
bpy.ops.ed.undo()
assert "Red Mug.001" not in bpy.data.objects, "one step takes it away"
assert "Red Mug" in bpy.data.objects
bpy.ops.ed.redo()
assert "Red Mug.001" in bpy.data.objects

bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1])
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
assert {"Red Mug", "Red Mug.001"} <= {thing.name for thing in bpy.data.objects}
assert bpy.context.scene.dreamtime.prompt == "a red mug"
print("generated and imported")
