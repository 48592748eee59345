"""Which backend is used, and how to get one."""

import bpy

from .. import preferences, runtime
from ..labels import wrapped
from ..local_backend.status import Stage
from ..session import wording
from .main import Sidebar, draw_start


class DREAMTIME_PT_backend(Sidebar, bpy.types.Panel):
    bl_label = "Backend"
    bl_parent_id = "DREAMTIME_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, preferences.of(context)
        layout.row().prop(chosen, "backend", expand=True)
        book = runtime.current().book
        if book.welcome:
            column = layout.column(align=True)
            column.label(text=f"Version {book.welcome.version}")
            for device in book.welcome.devices:
                column.label(text=device.replace(":", " ·", 1) if device.count(":") == 1 else device)
        if chosen.backend == "REMOTE":
            _draw_remote(layout)
        else:
            _draw_local(layout)


def _draw_local(layout: bpy.types.UILayout) -> None:
    """This computer's backend: how it stands, and what can be done."""
    current = runtime.current()
    status, installation = current.local_status, current.local.installation
    if status.stage is Stage.INSTALLING and installation is not None:
        row = layout.row(align=True)
        row.progress(factor=installation.progress.fraction, text=installation.progress.phase)
        row.operator("dreamtime.backend_cancel_install", text="", icon="X")
        return
    icon = _ICONS.get(status.stage, "NONE")
    wrapped(layout, wording.sentence(status.sentence), icon=icon)
    if status.remedy:
        wrapped(layout, wording.sentence(status.remedy), icon="NONE" if icon == "NONE" else "BLANK1")
    row = layout.row(align=True)
    draw_start(row)
    if status.stage in (Stage.STARTING, Stage.RUNNING, Stage.STOPPING):
        row.operator("dreamtime.backend_stop", icon="PAUSE")
    if current.adding is None:
        row = layout.row(align=True)
        row.operator("dreamtime.model_look", icon="ADD")
        row.operator("dreamtime.model_file", text="", icon="FILEBROWSER")
        return
    row = layout.row(align=True)
    row.label(text=current.adding_says, icon="IMPORT")
    row.operator("dreamtime.model_cancel", text="", icon="X")


_ICONS = {
    Stage.RUNNING: "CHECKMARK",
    Stage.CRASHED: "ERROR",
    Stage.OUTDATED: "ERROR",
}


def _draw_remote(layout: bpy.types.UILayout) -> None:
    wrapped(layout, "On the other computer, run: dreamtime pair NAME")
    wrapped(layout, "Models are added there, too: dreamtime models scan FOLDER")
    row = layout.row(align=True)
    row.operator("dreamtime.pair", icon="PASTEDOWN")
    row.operator("dreamtime.unpair", text="", icon="X")


CLASSES = (DREAMTIME_PT_backend,)
