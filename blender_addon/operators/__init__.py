"""Operators: thin ways from buttons to what the runtime and the importer do."""

import bpy

from . import backend, jobs

CLASSES = (*jobs.CLASSES, *backend.CLASSES)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
