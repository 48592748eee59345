"""Put a generated GLB into a scene of real Blender: python demo.py MESH.glb FOLDER, with the bpy package.

Writes FOLDER/render.png, a Cycles picture, and FOLDER/scene.blend with the texture packed.
"""

import math
import sys
from pathlib import Path

import bpy
from mathutils import Vector

_PIXELS, _SAMPLES = 640, 48
_CAMERA = Vector((1.9, -3.1, 1.7))
_LOOK_AT = Vector((0.0, 0.0, 0.75))


def imported(path: Path) -> bpy.types.Object:
    """The object in a GLB, standing on the ground."""
    bpy.ops.import_scene.gltf(filepath=str(path))
    (mesh,) = (thing for thing in bpy.context.selected_objects if thing.type == "MESH")
    lowest = min((mesh.matrix_world @ Vector(corner)).z for corner in mesh.bound_box)
    mesh.location.z -= lowest
    return mesh


def stage() -> None:
    """A floor, two soft lights and a camera."""
    bpy.ops.mesh.primitive_plane_add(size=40)
    floor = bpy.data.materials.new("floor")
    floor.use_nodes = True
    floor.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.55, 0.56, 0.58, 1)
    bpy.context.object.data.materials.append(floor)
    for location, watts, size in (((-2.5, -2.5, 4.0), 260, 3.0), ((3.0, -1.0, 2.5), 90, 2.0)):
        bpy.ops.object.light_add(type="AREA", location=location)
        light = bpy.context.object
        light.data.energy, light.data.size = watts, size
        light.rotation_euler = (_LOOK_AT - Vector(location)).to_track_quat("-Z", "Y").to_euler()
    bpy.ops.object.camera_add(location=_CAMERA, rotation=(_LOOK_AT - _CAMERA).to_track_quat("-Z", "Y").to_euler())
    bpy.context.object.data.angle = math.radians(36)
    bpy.context.scene.camera = bpy.context.object
    world = bpy.context.scene.world or bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.5


def main(mesh: Path, folder: Path) -> None:
    """Import, light, render and save."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    imported(mesh)
    stage()
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = _SAMPLES, True
    scene.render.resolution_x = scene.render.resolution_y = _PIXELS
    scene.render.filepath = str((folder / "render.png").resolve())
    bpy.ops.render.render(write_still=True)
    bpy.ops.file.pack_all()
    bpy.ops.wm.save_as_mainfile(filepath=str((folder / "scene.blend").resolve()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
