"""A result becomes an ordinary object: right in every respect that an artist would notice."""

import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
from desk import module
from mathutils import Matrix, Vector

folder = Path(sys.argv[1])
importer = module("importer")
JOB = "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b"


def bring(size: float = 2.0, prompt: str = "a red mug") -> bpy.types.Object:
    return importer.import_job(bpy.context, folder, prompt, JOB, size)


def counts() -> tuple[int, ...]:
    data = bpy.data
    return tuple(len(kind) for kind in (data.objects, data.meshes, data.materials, data.images, data.collections))


def names(thing: bpy.types.Object) -> list[str]:
    """What the object is called, its mesh, material and image; the image's path is its name."""
    (material,) = thing.data.materials
    image = next(node for node in material.node_tree.nodes if node.type == "TEX_IMAGE").image
    assert image.filepath_raw == f"//{image.name}.png"
    return [thing.name, thing.data.name, material.name, image.name]


# --- in Object mode, at the cursor ---
scene = bpy.context.scene
scene.cursor.matrix = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.5, 4, "Z")
found = bring()
mesh = found.data
assert (found.name, found.type) == ("Red Mug", "MESH")
assert found.matrix_world == scene.cursor.matrix
corners = np.array([vertex.co for vertex in mesh.vertices])
low, high = corners.min(axis=0), corners.max(axis=0)
assert abs((high - low).max() - 2.0) < 1e-5, "its largest extent is the size that was asked for"
assert np.allclose((low + high)[:2], 0, atol=1e-5), "it stands in the middle"
assert abs(low[2]) < 1e-6, "and on the ground"
assert not mesh.validate(), "nothing had to be mended"
assert all(polygon.use_smooth for polygon in mesh.polygons)
sharp = np.array([value.value for value in mesh.attributes["sharp_edge"].data])
assert sharp.sum() == int(sys.argv[2]), (sharp.sum(), "creases are sharp, and nothing else")
edges = {tuple(sorted(edge.vertices)) for edge in mesh.edges}
assert len(mesh.vertices) - len(edges) + len(mesh.polygons) == 2, "seams are welded: it is closed"
assert bpy.context.view_layer.objects.active == found
assert [thing.name for thing in bpy.context.selected_objects] == ["Red Mug"]
assert [thing.name for thing in bpy.data.collections["DreamTime"].objects] == ["Red Mug"]
assert found["dreamtime_prompt"] == "a red mug"
assert json.loads(found["dreamtime_recipe"])["seed"] == found["dreamtime_seed"] == 7

# --- its texture, packed, and at the right places ---
texture = next(node for node in mesh.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")
image = texture.image
assert image.packed_file is not None
assert tuple(image.size) == (64, 64)
pixels = np.array(image.pixels[:]).reshape(64, 64, 4)
uvs = np.array([uv.vector for uv in mesh.uv_layers["UVMap"].uv])
for polygon in mesh.polygons:  # the file's texture is red where the surface looks up, blue elsewhere
    middle = uvs[list(polygon.loop_indices)].mean(axis=0)
    colour = pixels[int(middle[1] * 64), int(middle[0] * 64), :3]
    expected = (1, 0, 0) if polygon.normal.z > 0.9 else (0, 0, 1)
    assert np.allclose(colour, expected, atol=0.02), (polygon.index, colour, expected)

# --- again: another name, the same collection ---
assert names(found) == ["Red Mug"] * 4
assert names(bring()) == ["Red Mug.001"] * 4
assert len([name for name in bpy.data.collections.keys() if name.startswith("DreamTime")]) == 1
scene.collection.children.unlink(bpy.data.collections["DreamTime"])
assert bring().name in bpy.context.view_layer.objects, "the collection is linked again"

# --- names that no exporter and no file system takes for another's ---
assert names(bring(prompt="a RED mug")) == ["RED Mug.003"] * 4, "many file systems take no notice of case"
bpy.data.materials.new("Red Mug.004")
assert names(bring()) == ["Red Mug.005"] * 4, "one name for all, though an object could be 004"
for one in (found, mesh, mesh.materials[0], image):
    one.name = "Mine"
assert names(bring()) == ["Red Mug.006"] * 4, "the image that was renamed is at its path still"
for one in (found, mesh, mesh.materials[0], image):
    one.name = "Red Mug"

# --- each scene has its own ---
other = bpy.data.scenes.new("Other")
with bpy.context.temp_override(scene=other, view_layer=other.view_layers[0]):
    apart = bring()
assert apart.name in other.collection.all_objects
assert apart.name not in scene.collection.all_objects
bpy.data.collections.remove(apart.users_collection[0])
bpy.data.scenes.remove(other)

# --- it is seen, even where the collection is not ---
layer = bpy.context.view_layer
there = layer.layer_collection.children["DreamTime"]
for owner, switch in ((there, "exclude"), (there, "hide_viewport"), (there.collection, "hide_viewport")):
    setattr(owner, switch, True)
    seen = bring()
    assert seen.visible_get(view_layer=layer), switch
    assert tuple(seen.users_collection) == (scene.collection,), switch
    assert (layer.objects.active, seen.select_get()) == (seen, True), switch
    setattr(owner, switch, False)
assert bring().users_collection[0].name == "DreamTime"

# --- any unit ---
scene.unit_settings.scale_length = 0.01
small = bring(size=1.0)
assert abs(max(small.dimensions) - 100.0) < 1e-3
scene.unit_settings.scale_length = 1.0

assert scene.dreamtime.bl_rna.properties["size"].unit == "NONE", "or the scene's unit would count twice"

# --- in Edit mode, nothing else is touched ---
bpy.context.view_layer.objects.active = found
bpy.ops.object.mode_set(mode="EDIT")
before = len(found.data.vertices)
another = bring(prompt="the blue box")
assert another.name == "Blue Box"
assert (bpy.context.mode, bpy.context.view_layer.objects.active) == ("EDIT_MESH", found)
bpy.ops.object.mode_set(mode="OBJECT")
assert len(found.data.vertices) == before

# --- whole or not at all ---
now = counts()
original = importer._shade


def fail(*_: object) -> None:
    raise RuntimeError("no room")


importer._shade = fail
try:
    bring()
    raise SystemExit("it should have failed")
except importer.ImportFailed as error:
    assert "no room" in str(error)
importer._shade = original
assert counts() == now, (counts(), now)
for content in (b"", b"glTF", (folder / "mesh.glb").read_bytes()[:-10]):
    broken = folder / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "mesh.glb").write_bytes(content)
    try:
        importer.import_job(bpy.context, broken, "a mug", JOB, 1.0)
        raise SystemExit("it should have failed")
    except importer.ImportFailed:
        pass
data = (folder / "mesh.glb").read_bytes()
at = data.index(b"IDAT") + 4
(broken / "mesh.glb").write_bytes(data[:at] + bytes(200) + data[at + 200 :])
try:
    importer.import_job(bpy.context, broken, "a mug", JOB, 1.0)
    raise SystemExit("it should have failed")
except importer.ImportFailed as error:
    assert "texture is damaged" in str(error)
assert counts() == now
bpy.data.collections["DreamTime"].name = "Mine"
original = importer._remember


def fail_late(*_: object) -> None:
    raise MemoryError


importer._remember = fail_late
try:
    bring()
    raise SystemExit("it should have failed")
except importer.ImportFailed as error:
    assert "too little memory" in str(error)
importer._remember = original
assert counts() == now

# --- what a strange backend may say ---
for seed, model, prompt in ((10**30, 5, "a kid's toy"), ("7", None, "red/blue box")):
    recipe = {"seed": seed, "model": model, "preset": [1]}
    odd = importer._object(importer.named(prompt), importer.glb.read(data), 1.0, ExitStack())
    importer._remember(odd, recipe)
    assert json.loads(odd["dreamtime_recipe"]) == recipe
    assert not {"dreamtime_seed", "dreamtime_model", "dreamtime_preset"} & set(odd.keys())
    assert odd.name == {"a kid's toy": "Kid's Toy", "red/blue box": "Red Blue Box"}[prompt]
model = importer.glb.read(data)
flat = replace(model, triangles=np.concatenate([model.triangles, model.triangles[:1] * 0]))
flat = replace(flat, uvs=np.concatenate([model.uvs, model.uvs[:3]]), sharp=np.append(model.sharp, [False] * 3))
mended = importer._object("Flat", flat, 1.0, ExitStack()).data
assert (len(mended.polygons), mended.validate()) == (12, False), "lines are no triangles"
huge = importer.scaled(np.float32([[-3e38, 0, 0], [3e38, 3e38, 0]]), 2.0)
assert np.allclose(huge, [[-1, -0.5, 0], [1, 0.5, 0]])

# --- a scene without units ---
scene.unit_settings.system, scene.unit_settings.scale_length = "NONE", 0.01
assert abs(max(bring(size=1.0).dimensions) - 1.0) < 1e-5
scene.unit_settings.system, scene.unit_settings.scale_length = "METRIC", 1.0

# --- a library's collection of the same name is left alone ---
library = str(folder / "library.blend")
elsewhere = bring(prompt="a hat")
bpy.ops.wm.save_as_mainfile(filepath=library, copy=True)
(material,) = elsewhere.data.materials
bpy.data.batch_remove([bpy.data.images["Hat"], material, elsewhere.data, elsewhere])
bpy.data.collections["DreamTime"].name = "Mine"
with bpy.data.libraries.load(library, link=True) as (_, wanted):
    wanted.collections = ["DreamTime"]
held = len(bpy.data.collections["DreamTime"].objects)
(home,) = bring().users_collection
assert (home.name, home.library, len(home.objects)) == ("DreamTime", None, 1)
assert held == len(next(one for one in bpy.data.collections if one.library).objects)
assert names(bring(prompt="a hat")) == ["Hat.001"] * 4, "nor is anything called as the library's are"

# --- for the asset browser ---
importer.mark_asset(found)
assert {tag.name for tag in found.asset_data.tags} == {"DreamTime", "red", "mug"}

# --- save and reopen ---
path = str(folder / "saved.blend")
bpy.ops.wm.save_as_mainfile(filepath=path)
bpy.ops.wm.open_mainfile(filepath=path)
again = bpy.data.objects["Red Mug"]
image = next(node for node in again.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE").image
assert np.array_equal(np.array(image.pixels[:]).reshape(64, 64, 4), pixels)
assert Vector(again.location) == Vector((1, 2, 3))
print("imported as it should be")
