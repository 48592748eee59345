"""What is set once for this Blender: which backend to use, and what happens with results."""

import bpy
from bpy.props import BoolProperty, EnumProperty

from . import runtime
from .labels import wrapped
from .local_backend.removal import at_uninstall
from .local_backend.status import Stage
from .session import wording


def _changed(self: "DREAMTIME_AP_preferences", context: bpy.types.Context) -> None:
    context.preferences.is_dirty = True  # so that it is saved although an operator set it, and not the artist
    runtime.current().connect(self.backend == "REMOTE")


class DREAMTIME_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = runtime.ADDON

    backend: EnumProperty(
        name="Backend",
        description="Where objects are made",
        items=[
            ("LOCAL", "This Computer", "A backend on this computer"),
            ("REMOTE", "Another Computer", "A backend on a workstation that was paired with"),
        ],
        update=_changed,
    )
    keep_backend: BoolProperty(
        name="Keep Backend Running",
        description="This computer's backend goes on with its jobs after Blender was closed",
        default=True,
    )
    import_at_once: BoolProperty(
        name="Import When Done",
        description="Put objects into the scene as soon as they are done, if they were asked for in this session",
        default=True,
    )
    mark_asset: BoolProperty(
        name="Mark as Asset", description="Mark imported objects for the asset browser, with their prompt as tags"
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "backend")
        layout.prop(self, "keep_backend")
        column = layout.column(heading="Results")
        column.prop(self, "import_at_once")
        column.prop(self, "mark_asset")
        _draw_disk(layout.box())


def _draw_disk(layout: bpy.types.UILayout) -> None:
    """What the local backend takes on the disk, how to get rid of it, and what uninstalling the add-on would delete."""
    current = runtime.current()
    current.measure()
    environment, status = current.local.environment, current.local_status
    column = layout.column(align=True)
    wrapped(column, wording.sentence(status.sentence), icon="DISK_DRIVE", inset=_INSET)
    if status.remedy:
        wrapped(column, wording.sentence(status.remedy), icon="BLANK1", inset=_INSET)
    if current.usage and current.usage.total and status.stage is not Stage.REMOVING:
        wrapped(column, f"It takes {current.usage}", icon="BLANK1", inset=_INSET)
        wrapped(column, str(environment.folder), icon="BLANK1", inset=_INSET)
        row = layout.row()
        row.operator("wm.path_open", text="Show Folder", icon="FILE_FOLDER").filepath = str(environment.folder)
        if status.stage is Stage.RUNNING:
            row.operator("dreamtime.backend_stop", text="Stop Backend", icon="PAUSE")
        row.operator("dreamtime.backend_remove", icon="TRASH")
    wrapped(layout.column(align=True), at_uninstall(environment, current.folder), icon="INFO", inset=_INSET)


_INSET = 60
"""Pixels of the frames around the preferences of an add-on."""


def of(context: bpy.types.Context) -> DREAMTIME_AP_preferences:
    """The preferences of this add-on."""
    return context.preferences.addons[runtime.ADDON].preferences


CLASSES = (DREAMTIME_AP_preferences,)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
