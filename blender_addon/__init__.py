"""What runs inside Blender: the panel, and what it takes to talk to a backend."""

from contextlib import ExitStack

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
    with ExitStack() as steps:  # the last first, and all of them, even if one fails
        steps.callback(runtime.stop, keep_backend)
        for part in (preferences, properties, pictures, operators, panels, coarse_view, pump):
            steps.callback(part.unregister)
