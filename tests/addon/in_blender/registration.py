"""Five times on and off: nothing stays behind."""

import gc
import threading

import addon_utils
import bpy
import zmq
from desk import ADDON

OPERATORS = {
    "generate",
    "use_object",
    "cancel",
    "import_result",
    "fetch",
    "generate_again",
    "copy_settings",
    "delete",
    "pair",
    "unpair",
    "backend_install",
    "backend_cancel_install",
    "backend_remove",
    "backend_start",
    "backend_stop",
    "backend_log",
    "model_file",
    "model_look",
    "model_add",
    "model_cancel",
    "job_menu",
    "take_viewport",
}
PANELS = {"DREAMTIME_PT_main", "DREAMTIME_PT_advanced", "DREAMTIME_PT_jobs", "DREAMTIME_PT_backend"}


def handlers() -> int:
    lists = (getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers))
    return sum(len(found) for found in lists if isinstance(found, list))


def classes() -> set[str]:
    return {name for name in dir(bpy.types) if name.startswith("DREAMTIME_")}


addon_utils.disable(ADDON, default_set=True)
quiet = handlers()
for _ in range(5):
    addon_utils.enable(ADDON, default_set=True)
    assert set(dir(bpy.ops.dreamtime)) >= OPERATORS, OPERATORS - set(dir(bpy.ops.dreamtime))
    assert classes() >= PANELS
    assert hasattr(bpy.context.scene, "dreamtime")
    pump = __import__(f"{ADDON}.pump", fromlist=["tick"])
    tick = pump.tick
    assert bpy.app.timers.is_registered(tick)
    addon_utils.disable(ADDON, default_set=True)
    assert not bpy.app.timers.is_registered(tick)
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
    assert classes() == set(), classes()
    assert not hasattr(bpy.context.scene, "dreamtime")
    assert handlers() == quiet
gc.collect()
assert not [thing for thing in gc.get_objects() if isinstance(thing, zmq.Context) and not thing.closed]
print("clean")
