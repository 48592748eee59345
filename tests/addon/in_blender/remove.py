"""The local backend is removed from the preferences: what it takes is told, and it goes while Blender goes on."""

import sys

import bpy
from desk import connected, module, until

python, root = sys.argv[1:]
runtime = module("runtime")
current = runtime.current()
environment = current.local.environment


def stage() -> str:
    return str(current.local_status.stage)


def measured() -> bool:
    current.measure()
    return current.usage is not None


assert environment.folder.is_relative_to(runtime.user_folder())
until(measured)
assert current.usage.total == 0
environment.python.parent.mkdir(parents=True)
environment.python.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{python}" "$@"\n')
environment.python.chmod(0o700)
marks = module("local_backend.environment")
marks.mark(environment.path, marks.Marker(runtime.version(), "cpu", "3.12"))
(environment.home / "models").mkdir(parents=True, mode=0o700)
environment.home.chmod(0o700)
(environment.home / "models" / "large").write_bytes(bytes(3_000_000))
until(lambda: stage() == "stopped")
until(lambda: measured() and current.usage.models == 3_000_000)

bpy.ops.dreamtime.backend_start()
until(connected)
assert not bpy.ops.dreamtime.backend_remove.poll(), "its files are in use"
bpy.ops.dreamtime.backend_stop()
until(lambda: stage() == "stopped")
assert bpy.ops.dreamtime.backend_remove() == {"FINISHED"}
module("pump").tick()
until(lambda: stage() == "absent")
assert list(environment.folder.iterdir()) == []
until(lambda: measured() and current.usage.total == 0)
assert bpy.ops.dreamtime.backend_install.poll()
print("removed")
