"""Operators on the local backend's files: installing and removing them."""

from pathlib import Path

import bpy

from .. import runtime
from ..labels import DIALOGUE_WIDTH, wrapped
from ..local_backend import machine, plan
from ..local_backend.install import Installation
from ..local_backend.machine import Machine
from ..local_backend.plan import Plan
from ..local_backend.status import Stage
from ..local_backend.troubles import CannotInstall, CannotRemove, CannotStart
from ..pump import in_a_window, tell
from ..session import wording
from ..shared.errors import Trouble


class DREAMTIME_OT_backend_install(bpy.types.Operator):
    """Install a backend on this computer, into a folder of its own; what it downloads is shown first"""

    bl_idname = "dreamtime.backend_install"
    bl_label = "Install Backend"

    _plan: Plan

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runtime.current().local_status.stage in (Stage.INSTALLING, Stage.REMOVING):
            cls.poll_message_set("It is being installed or removed already")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if _found is None:
            self.report({"INFO"}, "Looking at what this computer has")
            runtime.current().run(lambda: machine.look(machine.interpreter()), _looked)
            return {"FINISHED"}
        try:
            self._plan = _planned(_found)
        except CannotInstall as error:
            self.report({"ERROR"}, wording.told(error))
            return {"CANCELLED"}
        return context.window_manager.invoke_props_dialog(
            self, width=DIALOGUE_WIDTH, title="Install a backend on this computer?", confirm_text="Install"
        )

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for sentence in self._plan.sentences:
            wrapped(column, sentence, dialogue=DIALOGUE_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            chosen = getattr(self, "_plan", None) or _planned(_found or machine.look(machine.interpreter()))
            runtime.current().local.install(Installation(chosen, runtime.version()), bpy.app.online_access)
        except (CannotInstall, CannotStart) as error:
            self.report({"ERROR"}, wording.told(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMTIME_OT_backend_cancel_install(bpy.types.Operator):
    """Stop installing; nothing half-made stays"""

    bl_idname = "dreamtime.backend_cancel_install"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        installation = runtime.current().local.installation
        if installation is not None:
            installation.cancel()
        return {"FINISHED"}


class DREAMTIME_OT_backend_remove(bpy.types.Operator):
    """Delete this computer's backend with its models and jobs; what that is, is shown first"""

    bl_idname = "dreamtime.backend_remove"
    bl_label = "Remove Local Backend"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        current = runtime.current()
        if current.local_status.stage in (Stage.STARTING, Stage.RUNNING, Stage.STOPPING):
            cls.poll_message_set("Stop the backend first: its files are in use")
            return False
        if current.local_status.stage in (Stage.INSTALLING, Stage.REMOVING):
            cls.poll_message_set("It is being installed or removed already")
            return False
        if current.adding is not None:
            cls.poll_message_set("A model is being added; cancel that first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        runtime.current().measure()
        return context.window_manager.invoke_props_dialog(
            self,
            width=DIALOGUE_WIDTH,
            title="Remove this computer's backend?",
            confirm_text="Remove",
            cancel_default=True,
        )

    def draw(self, context: bpy.types.Context) -> None:
        current, column = runtime.current(), self.layout.column(align=True)
        for sentence in (
            f"The folder {current.local.environment.folder} is deleted for good.",
            f"It takes {current.usage}." if current.usage else "",
            "Jobs that wait are lost, and results that were not fetched. Models would have to be downloaded again.",
            "Objects in your scenes stay, and so do results in the list.",
        ):
            if sentence:
                wrapped(column, sentence, dialogue=DIALOGUE_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            runtime.current().local.remove()
        except CannotRemove as error:
            self.report({"ERROR"}, wording.told(error))
            return {"CANCELLED"}
        return {"FINISHED"}


_found: Machine | None = None
"""What this computer has, once somebody wanted to know: it takes seconds to find out."""


def _looked(outcome: Machine | Trouble) -> None:
    """The computer was looked at: go on with the dialogue."""
    global _found
    if isinstance(outcome, Trouble):
        tell(wording.told(outcome))
        return
    _found = outcome
    in_a_window(lambda: bpy.ops.dreamtime.backend_install("INVOKE_DEFAULT"))


def _planned(found: Machine) -> Plan:
    """Raises CannotInstall."""
    wheels = Path(__file__).parents[1] / "backend_wheel"
    return plan.plan(runtime.current().local.environment.folder, wheels, found)


CLASSES = (
    DREAMTIME_OT_backend_install,
    DREAMTIME_OT_backend_cancel_install,
    DREAMTIME_OT_backend_remove,
)
