"""Operators: thin ways from buttons to what the runtime and the importer do."""

import bpy

from . import backend, installation, jobs, models, viewport

CLASSES = (*jobs.CLASSES, *backend.CLASSES, *installation.CLASSES, *models.CLASSES, *viewport.CLASSES)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
