"""What runs inside Blender: the panel, and what it takes to talk to a backend."""

import bpy

from . import coarse_view, operators, panels, pictures, preferences, properties, pump, runtime


def register() -> None:
    runtime.start()
    preferences.register()
    properties.register()
    pictures.register()
    operators.register()
    panels.register()
    coarse_view.register()
    pump.register()
    runtime.current().connect(remote=preferences.of(bpy.context).backend == "REMOTE")


def unregister() -> None:
    keep_backend = preferences.of(bpy.context).keep_backend
    pump.unregister()
    coarse_view.unregister()
    panels.unregister()
    operators.unregister()
    pictures.unregister()
    properties.unregister()
    preferences.unregister()
    runtime.stop(keep_backend)
