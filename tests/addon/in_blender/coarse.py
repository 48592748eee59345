"""The coarse mesh of a running job: shown, replaced, and gone without a trace, whatever the artist does meanwhile."""

import sys
from pathlib import Path

import bpy
import numpy as np
from desk import module

folder = Path(sys.argv[1])
coarse_view, coarse = module("coarse_view"), module("shared.coarse")
JOB, OTHER = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b", "1b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"
VERTICES = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.25]], np.float32)
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32)
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]], np.uint8)


def packed(vertices: np.ndarray = VERTICES, triangles: np.ndarray = TRIANGLES) -> bytes:
    return coarse.pack(vertices.data, triangles.data, COLOURS[: len(vertices)].data)


def show(job: str, data: bytes) -> None:
    coarse_view.show(job, data, bpy.context.scene, 2.0)


def shown() -> list[bpy.types.Object]:
    return [thing for thing in bpy.data.objects if thing.name.startswith("DreamTime Preview")]


def counts() -> tuple[int, ...]:
    return tuple(len(kind) for kind in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.collections))


# --- shown at the cursor, standing, in its size and colours ---
start = counts()
scene = bpy.context.scene
scene.cursor.location = (1, 2, 3)
show(JOB, packed())
(found,) = shown()
assert (found.hide_render, found.hide_select) == (True, True)
assert tuple(found.matrix_world.translation) == (1, 2, 3)
corners = np.array([vertex.co for vertex in found.data.vertices])
assert np.allclose(corners, (VERTICES - [0.25, 0.25, 0]) * 4)
layer = found.data.color_attributes["Colour"]
seen = np.array([item.color_srgb[:3] for item in layer.data])
assert np.allclose(seen, COLOURS / 255, atol=1 / 255), seen
nodes = found.data.materials[0].node_tree
assert any(link.from_node.type == "VERTEX_COLOR" and link.to_socket.name == "Base Color" for link in nodes.links)

# --- replaced in place; what is none is passed over ---
show(JOB, packed(VERTICES[:3], TRIANGLES[:1]))
assert shown() == [found]
assert (len(found.data.vertices), len(found.data.polygons)) == (3, 1)
assert len(found.data.color_attributes) == 1
show(JOB, b"nonsense")
assert len(found.data.polygons) == 1
for scale in (1e38, 3e38, 1e-45):
    show(JOB, packed(np.float32(scale) * (4 * VERTICES - 1) / 3))
    assert np.isfinite([vertex.co for vertex in found.data.vertices]).all()
    assert abs(max(found.data.vertices[number].co.length for number in range(4))) < 3

# --- one for each job; removed without a trace ---
show(OTHER, packed())
assert len(shown()) == 2
coarse_view.remove(OTHER)
assert shown() == [found]
coarse_view.remove(JOB)
coarse_view.remove(JOB)
assert counts() == start

# --- in nobody's file, and back with the next preview; nor in one that is written without the handler ---
show(JOB, packed())
path = str(folder / "running.blend")
bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
assert shown() == []
show(JOB, packed())
bpy.app.handlers.save_pre.remove(coarse_view._before_saving)
bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
bpy.app.handlers.save_pre.append(coarse_view._before_saving)
assert len(shown()) == 1
with bpy.data.libraries.load(path) as (source, _):
    assert not [
        name for kind in (source.objects, source.meshes, source.materials) for name in kind if "Preview" in name
    ]
bpy.ops.wm.open_mainfile(filepath=path)
assert shown() == []
start = counts()  # what else nobody used was not saved either
show(JOB, packed())
assert len(shown()) == 1


# --- undo and redo bring back what belongs there, and nothing that does not ---
# The artist moves a thing. Where one is added after an undo, Blenders up to 5.2 crash now and then in later undos
# (bases of the view layer no longer point to objects), without any add-on, too.
def artist_moves_to(place: int) -> None:
    bpy.data.objects["Thing"].location.x = place
    bpy.ops.ed.undo_push(message=f"to {place}")


def place() -> float:
    return bpy.data.objects["Thing"].location.x


coarse_view.remove_all()
bpy.context.scene.collection.objects.link(bpy.data.objects.new("Thing", None))
bpy.ops.ed.undo_push(message="start")
artist_moves_to(1)
show(JOB, packed())
artist_moves_to(2)
bpy.ops.ed.undo()
assert place() == 1
show(JOB, packed())
assert len(shown()) == 1
bpy.ops.ed.redo()
assert len(shown()) == 1, "while the job runs, it stays"
coarse_view.remove(JOB)
artist_moves_to(3)
for _ in range(5):
    for step, there in ((bpy.ops.ed.undo, 2), (bpy.ops.ed.undo, 1), (bpy.ops.ed.redo, 2), (bpy.ops.ed.redo, 3)):
        assert step() == {"FINISHED"}
        assert place() == there
        assert shown() == [], step
        assert counts()[1:3] == start[1:3], "no mesh and no material is left"

# --- copied with its scene, or without a material, it goes all the same ---
show(JOB, packed())
bpy.ops.scene.new(type="FULL_COPY")
assert len(shown()) == 2
bpy.data.materials.remove(shown()[0].data.materials[0])
show(JOB, packed())
coarse_view.remove(JOB)
assert shown() == []
assert not [material for material in bpy.data.materials if material.name.startswith("DreamTime Preview")]
bpy.data.scenes.remove(bpy.context.scene)

# --- the artist does not want it ---
show(JOB, packed())
bpy.context.window_manager.dreamtime.sculpt = False
assert shown() == []

# --- the add-on is disabled ---
show(JOB, packed())
bpy.ops.preferences.addon_disable(module=module("runtime").ADDON)
assert shown() == []
assert not [handler for handler in bpy.app.handlers.undo_post if handler.__module__ == coarse_view.__name__]
print("shown and gone as it should be")
