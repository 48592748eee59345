"""Operators on the models of the local backend."""

import bpy
from bpy.props import StringProperty

from .. import runtime
from ..labels import DIALOGUE_WIDTH, wrapped
from ..local_backend.models import ModelOffer, Models, files_here
from ..local_backend.status import Stage
from ..pump import in_a_window, tell
from ..session import wording
from ..shared.errors import Trouble


class DREAMTIME_OT_model_look(bpy.types.Operator):
    """Add a diffusion model to this computer's backend; its size and licence are shown first"""

    bl_idname = "dreamtime.model_look"
    bl_label = "Add Model"

    name: StringProperty(
        name="Model", description="An id of the Hugging Face hub, such as owner/name", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        current = runtime.current()
        if current.local_status.stage in (Stage.ABSENT, Stage.OUTDATED, Stage.INSTALLING, Stage.REMOVING):
            cls.poll_message_set("Install the backend on this computer first; elsewhere: dreamtime models add")
            return False
        if current.adding is not None:
            cls.poll_message_set("A model is being added already")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
        return context.window_manager.invoke_props_dialog(self, width=400)

    def execute(self, context: bpy.types.Context) -> set[str]:
        current, name = runtime.current(), self.name.strip()
        models = Models(current.local.environment, bpy.app.online_access)
        current.run(lambda: models.look(name), _offered)
        self.report({"INFO"}, "Asking the hub for its size and licence")
        return {"FINISHED"}


class DREAMTIME_OT_model_add(bpy.types.Operator):
    """Download this model under its licence"""

    bl_idname = "dreamtime.model_add"
    bl_label = "Download"
    bl_options = {"INTERNAL"}

    name: StringProperty(options={"SKIP_SAVE", "HIDDEN"})
    offer: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(
            self, width=DIALOGUE_WIDTH, title="Download this model?", confirm_text="Download"
        )

    def draw(self, context: bpy.types.Context) -> None:
        wrapped(self.layout.column(align=True), self.offer, dialogue=DIALOGUE_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        current, name = runtime.current(), self.name
        models = current.adding = Models(current.local.environment, bpy.app.online_access)

        def hear(line: str) -> None:
            current.adding_says = files_here(line) or current.adding_says

        current.run(lambda: models.add(name, hear), _added)
        return {"FINISHED"}


class DREAMTIME_OT_model_cancel(bpy.types.Operator):
    """Stop downloading; what is there already is kept for another try"""

    bl_idname = "dreamtime.model_cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        adding = runtime.current().adding
        if adding is not None:
            adding.cancel()
        return {"FINISHED"}


def _offered(outcome: ModelOffer | Trouble) -> None:
    """The hub has answered: ask whether to go on."""
    if isinstance(outcome, Trouble):
        tell(wording.told(outcome))
        return
    in_a_window(lambda: bpy.ops.dreamtime.model_add("INVOKE_DEFAULT", name=outcome.name, offer=str(outcome)))


def _added(outcome: Trouble | None) -> None:
    current = runtime.current()
    current.adding, current.adding_says = None, ""
    if isinstance(outcome, Trouble):
        tell(wording.told(outcome))


CLASSES = (
    DREAMTIME_OT_model_look,
    DREAMTIME_OT_model_add,
    DREAMTIME_OT_model_cancel,
)
