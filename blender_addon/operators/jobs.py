"""Operators on jobs: generate, cancel, import, again, delete."""

import random
import time

import bpy
from bpy.props import StringProperty

from .. import importer, pictures, preferences, runtime
from ..session import wording
from ..session.book import REFUSED, SENDING, Entry
from ..session.commands import Cancel, Delete, Fetch, Generate, MarkImported
from ..shared.jobs import Generation, new_job_id
from ..shared.limits import SEEDS
from ..shared.prompts import tidied
from ..shared.states import State


def _send(request: Generation, variations: int, scene: bpy.types.Scene) -> None:
    jobs = tuple(new_job_id() for _ in range(variations))
    created = time.time()
    runtime.current().book.mean(jobs, request, created, scene.session_uid)
    runtime.current().send(Generate(jobs, request, created))


class DREAMTIME_OT_generate(bpy.types.Operator):
    """Make an object from the prompt"""

    bl_idname = "dreamtime.generate"
    bl_label = "Generate"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        book, settings = runtime.current().book, context.scene.dreamtime
        if not tidied(settings.prompt):
            cls.poll_message_set("Type what you want, such as: a red mug")
            return False
        if book.welcome is None or book.trouble:
            cls.poll_message_set(f"{wording.status(book)[0]}. {wording.status(book)[1]}")
            return False
        if not settings.model:
            cls.poll_message_set("The backend has no such model: choose another")
            return False
        if book.nearest(settings.prompt, settings.model):
            cls.poll_message_set("The model knows none of these words for an object: choose one below")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.dreamtime
        if not settings.lock_seed:  # drawn now, not for the next time: undoing an import would bring the old one back
            settings.seed = random.randrange(SEEDS)  # noqa: S311  # seeds are no secrets
        _send(settings.request(), settings.variations, context.scene)
        return {"FINISHED"}


class DREAMTIME_OT_use_object(bpy.types.Operator):
    """Ask for this object, which the model knows, instead"""

    bl_idname = "dreamtime.use_object"
    bl_label = "Use Object"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty()

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.dreamtime
        known = runtime.current().book.completion(settings.model)
        kept = [word for word in settings.prompt.lower().split() if known and word in known.words.adjectives]
        settings.prompt = " ".join(["a", *kept, self.name])
        return {"FINISHED"}


class _OnJob:
    """An operator on one job of the list."""

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @property
    def entry(self) -> Entry:
        """Raises KeyError if the job is gone."""
        return runtime.current().book.entries[self.job]


class DREAMTIME_OT_cancel(_OnJob, bpy.types.Operator):
    """End this job"""

    bl_idname = "dreamtime.cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.entry.state != SENDING:
            runtime.current().send(Cancel(self.job))
            return {"FINISHED"}
        runtime.current().send(Delete(self.job))
        runtime.current().book.forget(self.job)
        return {"FINISHED"}


class DREAMTIME_OT_import_result(_OnJob, bpy.types.Operator):
    """Put the object into the scene, at the 3D cursor"""

    bl_idname = "dreamtime.import_result"
    bl_label = "Import"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        entry = self.entry
        folder = runtime.current().results(self.job)
        try:
            found = importer.import_job(context, folder, entry.request.prompt, self.job, context.scene.dreamtime.size)
        except importer.ImportFailed as error:
            entry.fetched &= not isinstance(error, importer.Unreadable)  # so that Fetch is offered
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if preferences.of(context).mark_asset:
            importer.mark_asset(found)
        entry.imported = True
        runtime.current().send(MarkImported(self.job))
        self.report({"INFO"}, f"{found.name} is in the scene")
        return {"FINISHED"}


class DREAMTIME_OT_fetch(_OnJob, bpy.types.Operator):
    """Bring the result of this job from the backend to this computer"""

    bl_idname = "dreamtime.fetch"
    bl_label = "Fetch"

    def execute(self, context: bpy.types.Context) -> set[str]:
        entry = self.entry
        entry.mine, entry.scene, entry.trouble = True, context.scene.session_uid, None
        runtime.current().send(Fetch(self.job))
        return {"FINISHED"}


class DREAMTIME_OT_generate_again(_OnJob, bpy.types.Operator):
    """Ask for exactly this once more: the same words, the same seed, the same settings"""

    bl_idname = "dreamtime.generate_again"
    bl_label = "Generate Again"

    def execute(self, context: bpy.types.Context) -> set[str]:
        _send(self.entry.request, 1, context.scene)
        return {"FINISHED"}


class DREAMTIME_OT_copy_settings(_OnJob, bpy.types.Operator):
    """Put the words, the seed and the settings of this job into the panel"""

    bl_idname = "dreamtime.copy_settings"
    bl_label = "Copy Settings"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.dreamtime.take(self.entry.request)
        context.scene.dreamtime.lock_seed = True
        return {"FINISHED"}


class DREAMTIME_OT_delete(_OnJob, bpy.types.Operator):
    """Remove this job and its files, here and on the backend. Objects in scenes stay"""

    bl_idname = "dreamtime.delete"
    bl_label = "Delete Job"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        entry = self.entry
        if entry.state in (State.RUNNING, State.CANCELLING):
            self.report({"WARNING"}, "Cancel the job first")
            return {"CANCELLED"}
        if entry.state != REFUSED:
            runtime.current().send(Delete(self.job))
        runtime.current().book.forget(self.job)
        pictures.forget(self.job)
        return {"FINISHED"}


CLASSES = (
    DREAMTIME_OT_generate,
    DREAMTIME_OT_use_object,
    DREAMTIME_OT_cancel,
    DREAMTIME_OT_import_result,
    DREAMTIME_OT_fetch,
    DREAMTIME_OT_generate_again,
    DREAMTIME_OT_copy_settings,
    DREAMTIME_OT_delete,
)
