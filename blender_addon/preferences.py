"""What is set once for this Blender: which backend to use, and what happens with results."""

import bpy
from bpy.props import BoolProperty, EnumProperty

from . import runtime


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
