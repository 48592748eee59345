"""New colours for a rigged object that has everything: nothing else of it changes, and one undo takes them away."""

import bpy
import numpy as np
from desk import book, connected, module, until
from mathutils import Matrix, Vector

wording = module("session.wording")
until(connected)
scene, layer = bpy.context.scene, bpy.context.view_layer
settings = scene.dreamtime
for one in list(bpy.data.objects):
    bpy.data.objects.remove(one)


def cube(name: str, uvs: bool = True) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(corners, [], faces)
    if uvs:
        at = [
            ((face % 3 + x) / 3, (face // 3 + y) / 2) for face in range(6) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))
        ]
        mesh.uv_layers.new(name="Mine").uv.foreach_set("vector", np.ravel(at))
    for label in ("Wood", "Metal"):
        mesh.materials.append(bpy.data.materials.new(f"{name} {label}"))
    mesh.polygons.foreach_set("material_index", [0, 0, 0, 0, 1, 1])
    found = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(found)
    return found


def rigged() -> bpy.types.Object:
    """A cube with a rig, vertex groups, shape keys, two UV maps, and a place of its own in the world."""
    found = cube("Crate")
    found.data.uv_layers.new(name="Second")
    found.data.uv_layers.active_index = 0
    found.vertex_groups.new(name="Bone").add([0, 1, 2], 0.5, "REPLACE")
    found.shape_key_add(name="Basis")
    found.shape_key_add(name="Wide").data[0].co = (-3, 0, 0)
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    scene.collection.objects.link(armature)
    found.modifiers.new("Armature", "ARMATURE").object = armature
    found.matrix_world = Matrix.Translation((5, 6, 7)) @ Matrix.Scale(-2, 4, Vector((1, 0, 0)))
    return found


def all_of(found: bpy.types.Object) -> dict[str, object]:
    """Everything of an object but which face has which material."""
    mesh = found.data
    numbers = {
        "vertices": (mesh.vertices, "co", 3),
        "edges": (mesh.edges, "vertices", 2),
        "loops": (mesh.loops, "vertex_index", 1),
        "faces": (mesh.polygons, "loop_start", 1),
        "selected": (mesh.polygons, "select", 1),
        "smooth": (mesh.polygons, "use_smooth", 1),
    }
    told: dict[str, object] = {"object": found.name, "mesh": mesh.name, "matrix": tuple(map(tuple, found.matrix_world))}
    for name, (items, attribute, width) in numbers.items():
        values = np.empty(len(items) * width, np.float32 if name == "vertices" else np.int32)
        items.foreach_get(attribute, values)
        told[name] = values.tobytes()
    for each in mesh.uv_layers:
        values = np.empty(2 * len(mesh.loops), np.float32)
        each.uv.foreach_get("vector", values)
        told[f"uv {each.name}"] = values.tobytes()
    told["uv active"] = mesh.uv_layers.active and mesh.uv_layers.active.name
    told["groups"] = [
        (group.name, [[(g.group, g.weight) for g in vertex.groups] for vertex in mesh.vertices])
        for group in found.vertex_groups
    ]
    keys = mesh.shape_keys.key_blocks if mesh.shape_keys else ()
    told["keys"] = [(key.name, key.value, [tuple(point.co) for point in key.data]) for key in keys]
    told["modifiers"] = [(one.name, one.type, getattr(one, "object", None)) for one in found.modifiers]
    told["properties"] = list(found.keys()), list(mesh.keys())
    return told


def chosen(*objects: bpy.types.Object) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    for one in objects:
        one.select_set(True)
    layer.objects.active = objects[0]


def press(prompt: str, **values: object) -> list[str]:
    """Press Generate; the ids of the jobs that come of it."""
    known = set(book().entries)
    settings.prompt = prompt
    for name, value in values.items():
        setattr(settings, name, value)
    assert bpy.ops.dreamtime.generate() == {"FINISHED"}
    count = len(layer.objects.selected)
    until(lambda: len(book().entries) == len(known) + count)
    return [job for job in book().entries if job not in known]


def imported(*jobs: str) -> None:
    until(lambda: all(book().entries[job].imported or book().entries[job].trouble for job in jobs))
    assert not any(book().entries[job].trouble for job in jobs), [book().entries[job].trouble for job in jobs]


def materials(found: bpy.types.Object) -> list[int]:
    return [polygon.material_index for polygon in found.data.polygons]


def picture_node(found: bpy.types.Object) -> bpy.types.Node:
    return next(node for node in found.data.materials[-1].node_tree.nodes if node.type == "TEX_IMAGE")


class Drawn:
    """A layout that keeps what is drawn of the settings."""

    def __init__(self) -> None:
        self.names, self.labels = [], []

    def column(self, **options: object) -> "Drawn":
        return self

    def prop(self, data: object, name: str, **options: object) -> None:
        assert hasattr(data, name)
        self.names.append(name)

    def template_ID(self, data: object, name: str, **options: object) -> None:  # noqa: N802  # Blender's name
        self.prop(data, name)

    def operator(self, name: str, **options: object) -> None:
        self.names.append(name)

    def label(self, text: str, **options: object) -> None:
        self.labels.append(text)


def drawn() -> list[str]:
    layout = Drawn()
    module("panels.main")._draw_start(layout, bpy.context)
    return [*layout.names, *layout.labels]


# --- what belongs to each start, and nothing else ---
settings.prompt = "a red mug"
assert drawn() == ["start"]
settings.start = "mesh"
bpy.ops.object.select_all(action="DESELECT")
assert not bpy.ops.dreamtime.generate.poll()
assert drawn() == ["start", "paint_only", "where", "new_uvs", "No mesh is selected"]
settings.paint_only = False
names = drawn()
assert names[:4] == ["start", "paint_only", "strength", "No mesh is selected"]
assert " ".join(names[4:]) == wording.strength(0.5)
settings.start = "picture"
assert drawn() == ["start", "picture", "dreamtime.take_viewport", "sketch"]
assert not bpy.ops.dreamtime.generate.poll()
assert not bpy.ops.dreamtime.take_viewport.poll()
try:
    bpy.ops.dreamtime.take_viewport()
except RuntimeError as error:
    assert "There is no viewport" in str(error), error
else:
    raise AssertionError("without a window there is no viewport")
settings.start, settings.paint_only = "mesh", True

# --- on the object's own UV map ---
crate = rigged()
chosen(crate)
bpy.ops.object.mode_set(mode="EDIT")
assert not bpy.ops.dreamtime.generate.poll()
bpy.ops.object.mode_set(mode="OBJECT")
bpy.ops.ed.undo_push(message="made")
before, selected = all_of(crate), [one.name for one in layer.objects.selected]
(job,) = press("a red cube steps=1 glb=own", paint_only=True)
assert all_of(crate) == before, "it is as it was while it is sent"
entry = book().entries[job]
assert (entry.request.start.name, entry.request.paint_only, entry.request.strength) == ("Crate", True, None)
assert wording.begun_from(entry.request) == "Colours for Crate"
imported(job)
assert all_of(crate) == before
assert [slot.name for slot in crate.data.materials[:2]] == ["Crate Wood", "Crate Metal"]
assert (len(crate.data.materials), materials(crate)) == (3, [2] * 6)
node = picture_node(crate)
assert (node.image.packed_file is not None, tuple(node.image.size)) == (True, (16, 16))
assert node.inputs["Vector"].links[0].from_node.uv_map == "Mine"
assert [one.name for one in layer.objects.selected] == selected
assert [one.name for one in bpy.data.objects] == ["Crate", "Rig"]

# --- one step of undo ---
counts = (len(bpy.data.materials), len(bpy.data.images))
bpy.ops.ed.undo_push(message="painted")
assert bpy.ops.dreamtime.import_result("EXEC_DEFAULT", True, job=job) == {"FINISHED"}
assert len(bpy.data.objects["Crate"].data.materials) == 4
bpy.ops.ed.undo()
crate = bpy.data.objects["Crate"]
assert (len(crate.data.materials), materials(crate)) == (3, [2] * 6)
assert (len(bpy.data.materials), len(bpy.data.images)) == counts
bpy.ops.ed.redo()
assert len(bpy.data.objects["Crate"].data.materials) == 4

# --- a UV map is made where there is none, and a new one where it is wanted ---
scene, layer = bpy.context.scene, bpy.context.view_layer  # after an undo, others
settings = scene.dreamtime
crate, plain = bpy.data.objects["Crate"], cube("Plain", uvs=False)
chosen(plain)
before = all_of(plain)
imported(*press("a red cube steps=1 glb=own"))
assert [one.name for one in bpy.data.objects] == ["Crate", "Plain", "Rig"], "the copy that was unwrapped is gone"
assert [one.name for one in plain.data.uv_layers] == ["DreamTime"]
after = all_of(plain)
made = np.frombuffer(after.pop("uv DreamTime"), np.float32)
assert 0 <= made.min() < made.max() <= 1
assert len(np.unique(made.reshape(-1, 2), axis=0)) > 8
assert {**after, "uv active": None} == before
assert picture_node(plain).inputs["Vector"].links[0].from_node.uv_map == "DreamTime"
chosen(crate)
before = all_of(crate)
imported(*press("a red cube steps=1 glb=own", new_uvs=True))
settings.new_uvs = False
assert [one.name for one in crate.data.uv_layers] == ["Mine", "Second", "DreamTime"]
assert {name: value for name, value in all_of(crate).items() if name != "uv DreamTime"} == before
imported(*press("a red cube steps=1 glb=others"))
assert [one.name for one in crate.data.uv_layers] == ["Mine", "Second", "DreamTime", "DreamTime.001"]

# --- only some faces, of several objects, one after another ---
one, other = cube("One"), cube("Other")
chosen(one, other)
one.active_material_index = other.active_material_index = 1
jobs = press("a red cube steps=1 glb=own", where="slot", variations=3)
assert [book().entries[job].request.start.name for job in jobs] == ["One", "Other"]
imported(*jobs)
assert materials(one) == materials(other) == [0, 0, 0, 0, 2, 2]
chosen(one)
for polygon in one.data.polygons:
    polygon.select = polygon.index == 3
imported(*press("a red cube steps=1 glb=own", where="selected"))
assert materials(one) == [0, 0, 0, 3, 2, 2]
one.data.polygons[3].select = False
settings.where = "selected"
try:
    bpy.ops.dreamtime.generate()
except RuntimeError as error:
    assert "No face of One is marked" in str(error)
else:
    raise AssertionError("nothing is marked")
settings.where = "everywhere"

# --- modifiers that make other faces ---
one.modifiers.new("Subdivision", "SUBSURF").levels = 1
imported(*press("a red cube steps=1 glb=own"))
assert materials(one) == [4] * 6
job = press("a red cube steps=1 glb=others")[0]
until(lambda: book().entries[job].fetched)
assert not book().entries[job].imported
assert len(one.data.materials) == 5, "what does not fit changes nothing"

# --- it has changed since, or is gone ---
(job,) = press("a red cube steps=1 glb=own")
one.modifiers.clear()
until(lambda: book().entries[job].fetched)
assert not book().entries[job].imported
assert len(one.data.materials) == 5
chosen(other)
(job,) = press("a red cube steps=1 glb=own")
bpy.data.objects.remove(other)
imported(job)
made = next(thing for thing in bpy.data.objects if thing.get("dreamtime_job") == job)
assert len(made.data.polygons) == 12, "it comes by itself, and is not lost"

# --- another shape from it stands beside it ---
chosen(one)
(job,) = press("a red cube steps=1 glb=own", paint_only=False, strength=0.25, variations=1)
assert (book().entries[job].request.paint_only, book().entries[job].request.strength) == (False, 0.25)
imported(job)
made = next(thing for thing in bpy.data.objects if thing.get("dreamtime_job") == job)
assert abs(max(made.dimensions) - max(one.dimensions)) < 1e-3
assert made.location.x > 2
assert bpy.ops.dreamtime.copy_settings(job=job) == {"FINISHED"}
assert (settings.start, settings.paint_only, round(settings.strength, 3)) == ("mesh", False, 0.25)

# --- from a picture ---
image = bpy.data.images.new("Front", 2000, 1000, alpha=True)
drawn = np.tile(np.float32([1.0, 0.5, 0.0, 1.0]), (1000, 2000, 1))
drawn[:500] = [0.0, 0.0, 1.0, 1.0]  # below
image.pixels.foreach_set(drawn.ravel())
settings.start, settings.picture = "picture", None
assert not bpy.ops.dreamtime.generate.poll()
settings.picture = image
settings.picture.name = "Crate"  # as an object, which has nothing to do with it
chosen(bpy.data.objects["Crate"])
(job,) = press("a red mug steps=1", sketch=True)
until(lambda: book().entries[job].fetched)
start = book().entries[job].request.start
assert (start.sort, start.name, book().entries[job].request.sketch) == ("picture", "Crate", True)
sent = module("runtime").current().given(start).read_bytes()
copy = bpy.data.images.new("copy", 1, 1)
copy.source = "FILE"
copy.pack(data=sent, data_len=len(sent))
values = np.empty(4 * 1000 * 500, np.float32)
copy.pixels.foreach_get(values)
assert (tuple(copy.size), tuple(image.size)) == ((1000, 500), (2000, 1000)), "what is sent is made smaller"
assert np.array_equal(np.rint(255 * values.reshape(500, 1000, 4)[[0, -1], 0]), [[0, 0, 255, 255], [255, 128, 0, 255]])
print("painted and nothing else")
