"""The whole main job, as `make demo` shows it: a backend, the packed add-on inside the real bpy, an object in a scene.

    BLENDER_PYTHON demo.py BACKEND_PYTHON PROMPT PRESET FOLDER

BLENDER_PYTHON has the bpy package, BACKEND_PYTHON has this program's. Writes into FOLDER: scene.blend with the
texture packed, render.png by Cycles, and the backend's own mesh.glb, preview.png, turntable.gif and report.json.
"""

import importlib
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = Path(tempfile.mkdtemp(prefix="dreamtime-demo-"))
os.environ["BLENDER_USER_RESOURCES"] = str(SCRATCH / "blender")  # before bpy looks for it

import bpy
from mathutils import Vector

ROOT = Path(__file__).parents[1]
ADDON = "bl_ext.user_default.dreamtime"

_PIXELS, _SAMPLES = 640, 48
_CAMERA = Vector((1.3, -2.1, 1.2))
_LOOK_AT = Vector((0.0, 0.0, 0.5))


@contextmanager
def backend(python: str) -> Iterator[None]:
    """A backend of its own, at a free port; the add-on finds it by DREAMTIME_HOME."""
    home = SCRATCH / "home"
    home.mkdir(mode=0o700)
    os.environ["DREAMTIME_HOME"] = str(home)
    with (SCRATCH / "backend.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen([python, "-m", "backend", "serve", "--port", "0"], cwd=ROOT, stdout=log, stderr=log)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def install() -> None:
    """Pack the add-on for this Blender, and let Blender install it."""
    sys.path.insert(0, str(ROOT))
    build_addon = importlib.import_module("build_addon")
    place = {"Linux": "linux-x64", "Windows": "windows-x64", "Darwin": "macos-universal"}[platform.system()]
    generation = "5.1" if bpy.app.version >= (5, 1) else "4.5"
    target = build_addon.Target(generation, place)
    (archive,) = build_addon.build(SCRATCH, [target], None, offline=False, backend=False)
    bpy.ops.extensions.package_install_files(filepath=str(archive), repo="user_default", enable_on_install=True)


def generated(prompt: str, preset: str) -> tuple[bpy.types.Object, Path]:
    """Press Generate and wait, as an artist would; the object, and the folder of its files."""
    runtime, pump = (importlib.import_module(f"{ADDON}.{name}") for name in ("runtime", "pump"))
    book = runtime.current().book

    def pumped() -> None:  # without a window, Blender's timers do not run
        pump.tick()
        time.sleep(0.02)

    while book.welcome is None or book.trouble:
        pumped()
    settings = bpy.context.scene.dreamtime
    settings.prompt, settings.preset, settings.lock_seed = prompt, preset, True
    bpy.ops.dreamtime.generate()
    (entry,) = book.newest_first()[:1]
    while not entry.imported:
        if entry.trouble:
            raise SystemExit(f"error: {entry.trouble[0]}; {entry.trouble[1]}")
        pumped()
    found = next(thing for thing in bpy.data.objects if thing.get("dreamtime_job") == entry.job)
    return found, runtime.current().results(entry.job)


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


def main(python: str, prompt: str, preset: str, folder: Path) -> None:
    """From the prompt to a lit, rendered and saved scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with backend(python):
        install()
        print(f'asking the backend for "{prompt}" ...')
        found, results = generated(prompt, preset)
        print(f"{found.name} is in the scene: {len(found.data.polygons):,} triangles")
        folder.mkdir(parents=True, exist_ok=True)
        for path in results.iterdir():
            shutil.copyfile(path, folder / path.name)
        stage()
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        scene.cycles.samples, scene.cycles.use_denoising = _SAMPLES, True
        scene.render.resolution_x = scene.render.resolution_y = _PIXELS
        scene.render.filepath = str((folder / "render.png").resolve())
        bpy.ops.render.render(write_still=True)
        bpy.ops.wm.save_as_mainfile(filepath=str((folder / "scene.blend").resolve()))
        bpy.ops.preferences.addon_disable(module=ADDON)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
