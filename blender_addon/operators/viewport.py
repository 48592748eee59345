"""The operator that takes the viewport as the picture to begin from."""

import bpy

from .. import viewport
from ..gathering import NotGathered


class DREAMTIME_OT_take_viewport(bpy.types.Operator):
    """Begin from what this viewport shows now, as seen from here"""

    bl_idname = "dreamtime.take_viewport"
    bl_label = "Take Viewport"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if bpy.app.background or context.area is None or context.area.type != "VIEW_3D":
            cls.poll_message_set("There is no viewport to take a picture of: open a window with one")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            context.scene.dreamtime.picture = viewport.picture(context)
        except NotGathered as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (DREAMTIME_OT_take_viewport,)
