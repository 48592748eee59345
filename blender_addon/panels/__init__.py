"""The sidebar: drawn from what is known already, so that drawing never waits for anything."""

import bpy

from . import backend, jobs, main

CLASSES = (*main.CLASSES, *jobs.CLASSES, *backend.CLASSES)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
