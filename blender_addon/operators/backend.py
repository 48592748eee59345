"""Operators on the backend: pairing, installing, starting, stopping."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from .. import preferences, runtime
from ..labels import wrapped
from ..local_backend import machine, plan
from ..local_backend.install import Installation
from ..local_backend.machine import Machine
from ..local_backend.models import ModelOffer, Models, files_here
from ..local_backend.plan import Plan
from ..local_backend.process import Stage
from ..local_backend.troubles import CannotInstall, CannotRemove, CannotStart
from ..pump import in_a_window, tell
from ..session import pairings, wording
from ..shared.errors import Trouble
from ..shared.pairing import PairingError

_WIDTH, _LOG_WIDTH = 560, 700
"""Of dialogues, in pixels at a scale of 1."""


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
            return _refuse(self, error)
        return context.window_manager.invoke_props_dialog(
            self, width=_WIDTH, title="Install a backend on this computer?", confirm_text="Install"
        )

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for sentence in self._plan.sentences:
            wrapped(column, sentence, dialogue=_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            chosen = getattr(self, "_plan", None) or _planned(_found or machine.look(machine.interpreter()))
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
            self, width=_WIDTH, title="Remove this computer's backend?", confirm_text="Remove", cancel_default=True
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
                wrapped(column, sentence, dialogue=_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            runtime.current().local.remove()
        except CannotRemove as error:
            return _refuse(self, error)
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
        return context.window_manager.invoke_popup(self, width=_LOG_WIDTH)

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for line in runtime.current().local_status.log_tail or ("Nothing was logged",):
            wrapped(column, line, dialogue=_LOG_WIDTH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return {"FINISHED"}


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
            self, width=_WIDTH, title="Download this model?", confirm_text="Download"
        )

    def draw(self, context: bpy.types.Context) -> None:
        wrapped(self.layout.column(align=True), self.offer, dialogue=_WIDTH)

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


_found: Machine | None = None
"""What this computer has, once somebody wanted to know: it takes seconds to find out."""


def _looked(outcome: Machine | Trouble) -> None:
    """The computer was looked at: go on with the dialogue."""
    global _found
    if isinstance(outcome, Trouble):
        _tell(outcome)
        return
    _found = outcome
    in_a_window(lambda: bpy.ops.dreamtime.backend_install("INVOKE_DEFAULT"))


def _offered(outcome: ModelOffer | Trouble) -> None:
    """The hub has answered: ask whether to go on."""
    if isinstance(outcome, Trouble):
        _tell(outcome)
        return
    in_a_window(lambda: bpy.ops.dreamtime.model_add("INVOKE_DEFAULT", name=outcome.name, offer=str(outcome)))


def _added(outcome: Trouble | None) -> None:
    current = runtime.current()
    current.adding, current.adding_says = None, ""
    if isinstance(outcome, Trouble):
        _tell(outcome)


def _tell(error: Trouble) -> None:
    tell(f"{wording.sentence(error.sentence)}: {error.remedy}")


def _planned(found: Machine) -> Plan:
    """Raises CannotInstall."""
    wheels = Path(__file__).parents[1] / "backend_wheel"
    return plan.plan(runtime.current().local.environment.folder, wheels, found)


def _refuse(operator: bpy.types.Operator, error: Trouble) -> set[str]:
    operator.report({"ERROR"}, f"{wording.sentence(error.sentence)}: {error.remedy}")
    return {"CANCELLED"}


CLASSES = (
    DREAMTIME_OT_pair,
    DREAMTIME_OT_unpair,
    DREAMTIME_OT_backend_install,
    DREAMTIME_OT_backend_cancel_install,
    DREAMTIME_OT_backend_remove,
    DREAMTIME_OT_backend_start,
    DREAMTIME_OT_backend_stop,
    DREAMTIME_OT_backend_log,
    DREAMTIME_OT_model_look,
    DREAMTIME_OT_model_add,
    DREAMTIME_OT_model_cancel,
)
