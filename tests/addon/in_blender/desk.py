"""What the scripts in this folder share: the add-on's modules, and the pump, which Blender's timers do not run here."""

import importlib
import time
from collections.abc import Callable
from types import ModuleType

import bpy

ADDON = "bl_ext.user_default.dreamtime"


def module(name: str) -> ModuleType:
    return importlib.import_module(f"{ADDON}.{name}")


def until(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    """Pump until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        book = module("runtime").current().book
        assert time.monotonic() < deadline, (book.trouble, book.entries)
        module("pump").tick()
        time.sleep(0.01)


def book():
    return module("runtime").current().book


def connected() -> bool:
    return book().welcome is not None and book().trouble is None


def generate(prompt: str, **settings: object) -> str:
    """Press Generate; the new job's id."""
    known = set(book().entries)
    scene = bpy.context.scene.dreamtime
    scene.prompt = prompt
    for name, value in settings.items():
        setattr(scene, name, value)
    assert bpy.ops.dreamtime.generate() == {"FINISHED"}
    (job,) = set(book().entries) - known
    return job
