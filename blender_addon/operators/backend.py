"""Operators on the backend: pairing, starting, stopping."""

import bpy
from bpy.props import StringProperty

from .. import preferences, runtime
from ..labels import wrapped
from ..local_backend.troubles import CannotStart
from ..session import pairings, wording
from ..shared.pairing import PairingError

_LOG_WIDTH = 700
"""Of a dialogue, in pixels at a scale of 1."""


class DREAMTIME_OT_pair(bpy.types.Operator):
    """Use the backend of another computer: paste the line that "dreamtime pair NAME" printed there"""

    bl_idname = "dreamtime.pair"
    bl_label = "Pair"

    line: StringProperty(name="Line", description="dreamtime://...", subtype="PASSWORD", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        copied = context.window_manager.clipboard
        self.line = copied if "dreamtime://" in copied else ""
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


class DREAMTIME_OT_backend_start(bpy.types.Operator):
    """Start this computer's backend"""

    bl_idname = "dreamtime.backend_start"
    bl_label = "Start"

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            runtime.current().local.start()
        except CannotStart as error:
            self.report({"ERROR"}, wording.told(error))
            return {"CANCELLED"}
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
        return context.window_manager.invoke_popup(self, width=_LOG_WIDTH)

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for line in runtime.current().local_status.log_tail or ("Nothing was logged",):
            wrapped(column, line, dialogue=_LOG_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return {"FINISHED"}


CLASSES = (
    DREAMTIME_OT_pair,
    DREAMTIME_OT_unpair,
    DREAMTIME_OT_backend_start,
    DREAMTIME_OT_backend_stop,
    DREAMTIME_OT_backend_log,
)
