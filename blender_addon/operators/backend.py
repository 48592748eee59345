"""Operators on the backend: pairing, installing, starting, stopping."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from .. import preferences, runtime
from ..local_backend import machine, plan
from ..local_backend.install import Installation
from ..local_backend.plan import Plan
from ..local_backend.process import Stage
from ..local_backend.troubles import CannotInstall, CannotStart
from ..session import pairings
from ..shared.errors import Trouble
from ..shared.pairing import PairingError


class DREAMTIME_OT_pair(bpy.types.Operator):
    """Use the backend of another computer: paste the line that "python -m backend pair NAME" printed there"""

    bl_idname = "dreamtime.pair"
    bl_label = "Pair"

    line: StringProperty(name="Line", description="dreamtime://...", subtype="PASSWORD", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        copied = context.window_manager.clipboard.strip()
        self.line = copied if copied.startswith("dreamtime://") else ""
        return context.window_manager.invoke_props_dialog(self, width=400)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            pairing = pairings.keep_remote(runtime.current().folder, self.line)
        except PairingError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        except OSError as error:
            self.report({"ERROR"}, f"The pairing cannot be written ({error.strerror}): see to Blender's user folder")
            return {"CANCELLED"}
        preferences.of(context).backend = "REMOTE"  # which connects
        self.report({"INFO"}, f"Paired with {pairing.host}")
        return {"FINISHED"}


class DREAMTIME_OT_unpair(bpy.types.Operator):
    """Forget the other computer's backend"""

    bl_idname = "dreamtime.unpair"
    bl_label = "Unpair"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        pairings.forget_remote(runtime.current().folder)
        runtime.current().connect(remote=True)
        return {"FINISHED"}


class DREAMTIME_OT_backend_install(bpy.types.Operator):
    """Install a backend on this computer, into a folder of its own; what it downloads is shown first"""

    bl_idname = "dreamtime.backend_install"
    bl_label = "Install Backend"

    _plan: Plan

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runtime.current().local_status.stage is Stage.INSTALLING:
            cls.poll_message_set("It is being installed already")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self._plan = _planned()
        except CannotInstall as error:
            return _refuse(self, error)
        return context.window_manager.invoke_props_dialog(self, width=480, title="Install a backend on this computer?")

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for sentence in self._plan.sentences:
            column.label(text=sentence)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            chosen = getattr(self, "_plan", None) or _planned()
            runtime.current().local.install(Installation(chosen, runtime.version()), bpy.app.online_access)
        except (CannotInstall, CannotStart) as error:
            return _refuse(self, error)
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


class DREAMTIME_OT_backend_start(bpy.types.Operator):
    """Start this computer's backend"""

    bl_idname = "dreamtime.backend_start"
    bl_label = "Start"

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            runtime.current().local.start()
        except CannotStart as error:
            return _refuse(self, error)
        return {"FINISHED"}


class DREAMTIME_OT_backend_stop(bpy.types.Operator):
    """Stop this computer's backend; its jobs go on at the next start"""

    bl_idname = "dreamtime.backend_stop"
    bl_label = "Stop"

    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.current().local.stop()
        return {"FINISHED"}


class DREAMTIME_OT_backend_log(bpy.types.Operator):
    """Show the end of the backend's log"""

    bl_idname = "dreamtime.backend_log"
    bl_label = "Log"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_popup(self, width=700)

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for line in runtime.current().local_status.log_tail or ("Nothing was logged",):
            column.label(text=line)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return {"FINISHED"}


def _planned() -> Plan:
    """Raises CannotInstall."""
    wheels = Path(__file__).parents[1] / "backend_wheel"
    return plan.plan(runtime.current().local.environment.folder, wheels, machine.look(machine.interpreter()))


def _refuse(operator: bpy.types.Operator, error: Trouble) -> set[str]:
    operator.report({"ERROR"}, f"{error.sentence[:1].upper()}{error.sentence[1:]}: {error.remedy}")
    return {"CANCELLED"}


CLASSES = (
    DREAMTIME_OT_pair,
    DREAMTIME_OT_unpair,
    DREAMTIME_OT_backend_install,
    DREAMTIME_OT_backend_cancel_install,
    DREAMTIME_OT_backend_start,
    DREAMTIME_OT_backend_stop,
    DREAMTIME_OT_backend_log,
)
