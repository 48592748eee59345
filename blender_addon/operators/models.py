"""Operators on the models of the local backend."""

import bpy
from bpy.props import StringProperty

from .. import runtime
from ..labels import DIALOGUE_WIDTH, wrapped
from ..local_backend.models import ModelOffer, Models, files_here, is_here
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
        return _can_add(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
        return context.window_manager.invoke_props_dialog(self, width=400)

    def execute(self, context: bpy.types.Context) -> set[str]:
        current, name = runtime.current(), self.name.strip()
        models = Models(current.local.environment, bpy.app.online_access)
        current.run(lambda: models.look(name), _offered)
        self.report({"INFO"}, "Asking the hub for its size and licence")
        return {"FINISHED"}


class DREAMTIME_OT_model_file(bpy.types.Operator):
    """Add a checkpoint that is on this computer, such as one of ComfyUI or A1111; it is read from where it is"""

    bl_idname = "dreamtime.model_file"
    bl_label = "Add Model from File"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.safetensors;*.sft", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _can_add(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        current, path = runtime.current(), bpy.path.abspath(self.filepath)
        models = Models(current.local.environment, bpy.app.online_access)
        current.run(lambda: models.look(path), lambda outcome: _offered(outcome, path))
        self.report({"INFO"}, "Looking at what the file holds")
        return {"FINISHED"}


class DREAMTIME_OT_model_add(bpy.types.Operator):
    """Add this model, downloaded under its licence or read from its file"""

    bl_idname = "dreamtime.model_add"
    bl_label = "Add"
    bl_options = {"INTERNAL"}

    name: StringProperty(options={"SKIP_SAVE", "HIDDEN"})
    offer: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        verb = "Add" if is_here(self.name) else "Download"
        return context.window_manager.invoke_props_dialog(
            self, width=DIALOGUE_WIDTH, title=f"{verb} this model?", confirm_text=verb
        )

    def draw(self, context: bpy.types.Context) -> None:
        wrapped(self.layout.column(align=True), self.offer, dialogue=DIALOGUE_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        current, name = runtime.current(), self.name
        models = current.adding = Models(current.local.environment, bpy.app.online_access)
        current.adding_says = "Adding the model" if is_here(name) else "Downloading the model"

        def hear(line: str) -> None:
            current.adding_says = files_here(line) or current.adding_says

        current.run(lambda: models.add(name, hear), _added)
        return {"FINISHED"}


class DREAMTIME_OT_model_cancel(bpy.types.Operator):
    """Stop adding the model; what was downloaded is kept for another try"""

    bl_idname = "dreamtime.model_cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        adding = runtime.current().adding
        if adding is not None:
            adding.cancel()
        return {"FINISHED"}


def _can_add(operator: type[bpy.types.Operator]) -> bool:
    """Whether a model can be added now; the operator says why not."""
    current = runtime.current()
    if current.local_status.stage in (Stage.ABSENT, Stage.OUTDATED, Stage.INSTALLING, Stage.REMOVING):
        operator.poll_message_set("Install the backend on this computer first; elsewhere: dreamtime models add")
        return False
    if current.adding is not None:
        operator.poll_message_set("A model is being added already")
        return False
    return True


def _offered(outcome: ModelOffer | Trouble, path: str = "") -> None:
    """It is known what there is, on the hub or in the file `path`: ask whether to go on."""
    if isinstance(outcome, Trouble):
        tell(wording.told(outcome))
        return
    source = path or outcome.name
    in_a_window(lambda: bpy.ops.dreamtime.model_add("INVOKE_DEFAULT", name=source, offer=str(outcome)))


def _added(outcome: Trouble | None) -> None:
    current = runtime.current()
    current.adding, current.adding_says = None, ""
    if isinstance(outcome, Trouble):
        tell(wording.told(outcome))


CLASSES = (
    DREAMTIME_OT_model_look,
    DREAMTIME_OT_model_file,
    DREAMTIME_OT_model_add,
    DREAMTIME_OT_model_cancel,
)
