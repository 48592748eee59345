"""An artist's first minutes: Install Backend, Start, Generate, and never a terminal."""

from dataclasses import replace
from typing import Any

import bpy
from desk import book, connected, generate, module, until

plan = module("local_backend.plan")
planned = plan.plan


def planned_for_any_index(*facts: object) -> Any:
    """The pinned torch from wherever pip is configured to look: PyTorch's own index may be out of reach."""
    found = planned(*facts)
    torch = found.requirements[0].partition("+")[0]
    return replace(found, index="", requirements=(torch, *found.requirements[1:]))


def stage() -> str:
    return str(module("runtime").current().local_status.stage)


plan.plan = planned_for_any_index
assert stage() == "absent"
bpy.context.preferences.system.use_online_access = True
assert bpy.ops.dreamtime.backend_install() == {"FINISHED"}
until(lambda: stage() == "installing")
assert not bpy.ops.dreamtime.backend_install.poll()
until(lambda: stage() != "installing", seconds=1800.0)
assert stage() == "stopped", module("runtime").current().local_status

assert bpy.ops.dreamtime.backend_start() == {"FINISHED"}
until(lambda: stage() == "running")
until(connected)
job = generate("a red mug", preset="draft", seed=3, lock_seed=True)
until(lambda: book().entries[job].imported, seconds=240.0)
assert 1000 < len(bpy.data.objects["Red Mug"].data.polygons) <= 5000

assert bpy.ops.dreamtime.backend_stop() == {"FINISHED"}
until(lambda: stage() == "stopped")
print("from nothing to an object")
