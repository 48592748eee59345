"""The pump: a timer that takes news from the client thread to Blender, a few milliseconds at a time."""

import logging
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import bpy

from . import coarse_view, pictures, preferences, runtime
from .session import wording
from .session.book import Arrived, Book, Effect, Ended, Entry, Shown
from .shared.states import State

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 0.008
"""What a tick may take, but for an import."""

BUSY_SECONDS, IDLE_SECONDS = 0.1, 0.5
"""Pauses between ticks: while jobs run, and while nothing happens."""


def register() -> None:
    bpy.app.timers.register(tick, first_interval=BUSY_SECONDS, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)


def tick() -> float:
    """Take in what news there is time for; seconds until the next tick."""
    current = runtime.current()
    deadline = time.perf_counter() + BUDGET_SECONDS
    changed, before = False, (current.local_status, current.usage)
    with _going_on():
        current.heed_online_access()
    while time.perf_counter() < deadline and (news := current.mailbox.take()) is not None:
        changed = True
        for effect in current.book.apply(news):
            with _going_on():
                _have(effect)
    with _going_on():
        if time.perf_counter() < deadline:
            changed |= pictures.load_next()
    while outcome := current.outcome():
        with _going_on():
            outcome()
    with _going_on():
        current.local_status = current.local.poll()
    if changed or (current.local_status, current.usage) != before:
        _redraw()
    return BUSY_SECONDS if changed or _busy(current.book) else IDLE_SECONDS


@contextmanager
def _going_on() -> Iterator[None]:
    """Whatever fails within costs only itself: Blender drops a timer that raises, and the panel would stand still."""
    try:
        yield
    except Exception:
        logger.exception("the panel could not be brought up to date")


def _busy(book: Book) -> bool:
    return book.welcome is None or any(entry.running for entry in book.entries.values())


def _have(effect: Effect) -> None:
    """Do in Blender what news amount to."""
    entry = runtime.current().book.entries[effect.job]
    match effect:
        case Shown(coarse=coarse):
            if entry.preview:
                pictures.keep(entry)
            scene = _scene_of(entry)
            if coarse and scene and not entry.request.paint_only and bpy.context.window_manager.dreamtime.sculpt:
                coarse_view.show(entry.job, coarse, scene, scene.dreamtime.size)
        case Arrived():
            pictures.look_again(entry.job)
            coarse_view.remove(entry.job)
            if preferences.of(bpy.context).import_at_once:
                _import(entry)
        case Ended():
            coarse_view.remove(entry.job)
            if entry.state != State.DONE and entry.trouble:
                tell(wording.ended(entry.request.prompt, *entry.trouble))


def _scene_of(entry: Entry) -> bpy.types.Scene | None:
    """The scene that a job was asked for in, if it is still there: the artist may have opened another file."""
    return next((scene for scene in bpy.data.scenes if entry.mine and scene.session_uid == entry.scene), None)


def _import(entry: Entry) -> None:
    """Import into the scene that the job was asked for in; where it is not before the artist's eyes, the list says that
    there is something to import."""
    scene, windows = _scene_of(entry), bpy.context.window_manager.windows
    seen = [window for window in windows if window.scene == scene]
    if seen or (not windows and bpy.context.scene == scene):
        in_a_window(lambda: bpy.ops.dreamtime.import_result("EXEC_DEFAULT", True, job=entry.job), seen[:1])


def in_a_window(call: Callable[[], object], windows: Sequence[bpy.types.Window] = ()) -> None:
    """Call an operator as if a button in a window had; timers have none of their own. What it refuses is told."""
    windows = windows or list(bpy.context.window_manager.windows)
    try:
        if windows:
            with bpy.context.temp_override(window=windows[0]):
                call()
        else:
            call()
    except RuntimeError as error:  # what an operator reports as an error, which must not end the timer
        tell(str(error).removeprefix("Error: ").strip())


def tell(text: str) -> None:
    """Say in a pop-up what went wrong, and in the log."""
    logger.warning("%s", text)
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:  # Blender crashes on pop-ups that it cannot draw
        return

    def draw(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
        for line in textwrap.wrap(text, _POPUP_LINE):
            menu.layout.label(text=line)

    with bpy.context.temp_override(window=windows[0]):
        bpy.context.window_manager.popup_menu(draw, title="DreamTime", icon="ERROR")


_POPUP_LINE = 70


def _redraw() -> None:
    """Only the sidebars, which show the panel, and the preferences."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
