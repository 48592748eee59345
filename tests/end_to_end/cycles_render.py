"""Renders the base colours of a GLB with Cycles. Runs inside `bpy`: cycles_render.py GLB OUT CAMERAS

CAMERAS is a JSON list of {"matrix": 4 x 4 camera to world, "fov": radians, "size": pixels}; picture i
is written to OUT/i.png, with alpha.
"""

import json
import sys
from pathlib import Path

import bpy

glb, out, cameras = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=str(glb))
for material in bpy.data.materials:
    nodes, links = material.node_tree.nodes, material.node_tree.links
    texture = next(node for node in nodes if node.type == "TEX_IMAGE")
    target = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
    glow = nodes.new("ShaderNodeEmission")
    links.new(texture.outputs["Color"], glow.inputs["Color"])
    links.new(glow.outputs["Emission"], target.inputs["Surface"])

scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = 32
scene.cycles.use_adaptive_sampling = False
scene.cycles.use_denoising = False
scene.cycles.pixel_filter_type = "BOX"
scene.render.film_transparent = True
scene.render.image_settings.file_format = "PNG"
scene.render.image_settings.color_mode = "RGBA"
scene.view_settings.view_transform = "Standard"
scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
scene.collection.objects.link(scene.camera)
scene.camera.data.clip_start = 0.01

for index, camera in enumerate(cameras):
    scene.camera.matrix_world = [list(column) for column in zip(*camera["matrix"], strict=True)]
    scene.camera.data.angle = camera["fov"]
    scene.render.resolution_x = scene.render.resolution_y = camera["size"]
    scene.render.filepath = str(out / f"{index}.png")
    bpy.ops.render.render(write_still=True)
