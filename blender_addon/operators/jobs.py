"""Operators on jobs: generate, cancel, import, again, delete."""

import random
import time
from dataclasses import replace

import bpy
from bpy.props import StringProperty

from .. import importer, painting, pictures, preferences, runtime, starts
from ..gathering import NotGathered
from ..pump import tell
from ..session import wording
from ..session.book import REFUSED, SENDING, Entry
from ..session.commands import Cancel, Delete, Fetch, Generate, MarkImported
from ..shared.errors import Trouble
from ..shared.inputs import MESH
from ..shared.jobs import Generation, new_job_id
from ..shared.limits import SEEDS
from ..shared.prompts import tidied
from ..shared.states import State
from ..starts import Prepared


def _send(request: Generation, variations: int, scene: int, given: bytes = b"") -> None:
    """Have jobs done that belong into the scene of that session_uid."""
    jobs = tuple(new_job_id() for _ in range(variations))
    created = time.time()
    runtime.current().book.mean(jobs, request, created, scene)
    runtime.current().send(Generate(jobs, request, created, given))


def _begin(context: bpy.types.Context) -> None:
    """Have jobs done from what the settings begin with, one after another; a thread packs it. Raises NotGathered."""
    settings, scene = context.scene.dreamtime, context.scene.session_uid
    request = settings.request()
    variations = 1 if request.paint_only else settings.variations
    packs = list(starts.gathered(context))  # all of them, or none

    def packed(made: list[Prepared] | Trouble) -> None:
        if isinstance(made, Trouble):
            tell(wording.told(made))
            return
        for one in made:
            _send(replace(request, start=one.start), variations, scene, one.content)

    runtime.current().run(lambda: [pack() for pack in packs], packed)


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
        if hindrance := starts.hindrance(context):
            cls.poll_message_set(hindrance)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.dreamtime
        if not settings.lock_seed:  # drawn now, not for the next time: undoing an import would bring the old one back
            settings.seed = random.randrange(SEEDS)  # noqa: S311  # seeds are no secrets
        if settings.start == starts.NOTHING:
            _send(settings.request(), settings.variations, context.scene.session_uid)
            return {"FINISHED"}
        try:
            _begin(context)
        except NotGathered as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
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
    """Put the object into the scene, at the 3D cursor, or its colours onto the object that they were made for"""

    bl_idname = "dreamtime.import_result"
    bl_label = "Import"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        entry = self.entry
        try:
            done = self._painted(context, entry) or self._imported(context, entry)
        except importer.ImportFailed as error:
            entry.fetched &= not isinstance(error, importer.Unreadable)  # so that Fetch is offered
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        entry.imported = True
        runtime.current().send(MarkImported(self.job))
        self.report({"INFO"}, done)
        return {"FINISHED"}

    def _painted(self, context: bpy.types.Context, entry: Entry) -> str:
        """Give the artist's own object its new colours; "" if the job was another, or the object is gone.

        Raises ImportFailed.
        """
        current, start = runtime.current(), entry.request.start
        if start is None or not entry.request.paint_only:
            return ""
        found, given = painting.original(context.scene, start.name), current.given(start)
        if found is None or given is None:
            return ""
        painting.paint(context, found, current.results(self.job), given, entry.request.prompt)
        return f"{found.name} has new colours"

    def _imported(self, context: bpy.types.Context, entry: Entry) -> str:
        """Make an object of its own. Raises ImportFailed."""
        folder = runtime.current().results(self.job)
        found = importer.import_job(context, folder, entry.request.prompt, self.job, context.scene.dreamtime.size)
        start = entry.request.start
        if start and start.sort == MESH and (original := painting.original(context.scene, start.name)):
            painting.put_beside(found, original)
        if preferences.of(context).mark_asset:
            importer.mark_asset(found)
        return f"{found.name} is in the scene"


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
        _send(self.entry.request, 1, context.scene.session_uid)
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
