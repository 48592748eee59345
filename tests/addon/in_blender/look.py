"""Render an imported result with Cycles in even white light: look.py FOLDER PICTURE."""

import sys
from pathlib import Path

import bpy
from desk import module
from mathutils import Vector

folder, picture = Path(sys.argv[1]), sys.argv[2]
bpy.ops.wm.read_homefile(use_empty=True)
found = module("importer").import_job(
    bpy.context, folder, "a red mug", "0b0e0d3c-4a53-4c5e-9f0a-1c2d3e4f5a6b", size=1.0
)

scene = bpy.context.scene
scene.world = bpy.data.worlds.new("white")
light = scene.world.node_tree or setattr(scene.world, "use_nodes", True) or scene.world.node_tree
next(node for node in light.nodes if node.type == "BACKGROUND").inputs["Color"].default_value = (1, 1, 1, 1)
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
camera.location = Vector((1.2, -1.8, 1.3))
camera.rotation_euler = (Vector((0, 0, 0.35)) - camera.location).to_track_quat("-Z", "Y").to_euler()
scene.collection.objects.link(camera)
scene.camera = camera
scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 8
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 160, 120, 100
scene.render.film_transparent = True
scene.view_settings.view_transform = "Standard"
scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
