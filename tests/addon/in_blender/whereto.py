"""News go where they belong: into the scene that a job was asked for in; and what fails costs only itself."""

from types import SimpleNamespace

import bpy
from desk import ADDON, book, module

pump, runtime, mailbox = module("pump"), module("runtime"), module("session.mailbox")
shared, states = module("shared.jobs"), module("shared.states")
current = runtime.current()
current.stop()  # no backend has a say here
asked = []
pump.in_a_window = lambda call, windows=(): asked.append(call)


def meant() -> str:
    """A job of the scene that is open."""
    job = shared.new_job_id()
    book().mean((job,), shared.Generation("a red mug"), 0.0, bpy.context.scene.session_uid)
    return job


def progress(job: str) -> object:
    return mailbox.Progress(shared.Live(job, 1, "optimising", 1, 10, 500, 9.0, 0, 0), b"", b"coarse")


# --- imported where it was asked for, and left in the list elsewhere ---
here = meant()
current.mailbox.put(mailbox.Fetched(here))
assert isinstance(pump.tick(), float)
assert (len(asked), book().entries[here].fetched) == (1, True)
away = meant()
bpy.ops.wm.read_homefile()
current.mailbox.put(mailbox.Fetched(away))
pump.tick()
assert (len(asked), book().entries[away].fetched) == (1, True)

# --- the rough shape, too, and never that of another Blender's job ---
shown = []
module("coarse_view").show = lambda job, *_: shown.append(job)
mine, foreign = meant(), meant()
book().entries[foreign].mine = False
for job in (away, mine, foreign):
    book().entries[job].state = states.State.RUNNING
    current.mailbox.put(progress(job))
    pump.tick()
assert shown == [mine]

# --- what fails costs only itself ---
broken = SimpleNamespace(remove=lambda job: 1 / 0)
pump.coarse_view, kept = broken, pump.coarse_view
pump.logger.disabled = True
late = meant()
current.run(lambda: None, lambda outcome: 1 / 0)
current.mailbox.put(mailbox.Fetched(late))
current.mailbox.put(mailbox.Lost(module("shared.errors").Unreachable("no backend answers")))
for _ in range(3):
    assert isinstance(pump.tick(), float)
assert book().trouble is not None
pump.coarse_view, pump.logger.disabled = kept, False

# --- a seed is drawn when it is needed: undoing an import does not bring the old one back ---
scene = bpy.context.scene.dreamtime
scene.prompt = "a red mug"
book().trouble, book().welcome = None, SimpleNamespace(offer=SimpleNamespace(models=(), schedules=(), fields=()))
bpy.ops.ed.undo_push(message="start")
seeds = []
for _ in range(3):
    known = set(book().entries)
    assert bpy.ops.dreamtime.generate() == {"FINISHED"}
    (job,) = set(book().entries) - known
    seeds.append(book().entries[job].request.seed)
    bpy.ops.ed.undo_push(message="import")
    bpy.ops.ed.undo()
assert len(set(seeds)) == 3, seeds

# --- choosing a backend is a change of the preferences, by whomever it was made ---
bpy.context.preferences.is_dirty = False
bpy.context.preferences.addons[ADDON].preferences.backend = "REMOTE"
assert bpy.context.preferences.is_dirty
print("all in its place")
