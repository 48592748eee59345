"""The panel itself: what to make, Generate, and how far it is."""

import bpy

from .. import pictures, runtime, starts
from ..labels import wrapped
from ..local_backend.status import Stage
from ..session import wording
from ..session.book import SENDING, Book, Entry
from ..session.pairings import NotRunning
from ..shared.errors import Unreachable
from ..shared.inputs import MESH, PICTURE
from ..shared.states import State

CATEGORY = "DreamTime"
_PICTURE_SCALE = 7.0
_BARS = 4
"""Jobs whose progress is shown; the list has all."""


class Sidebar:
    """Where the panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


class DREAMTIME_PT_main(Sidebar, bpy.types.Panel):
    bl_label = "DreamTime"

    def draw(self, context: bpy.types.Context) -> None:
        layout, book = self.layout, runtime.current().book
        settings = context.scene.dreamtime
        _draw_status(layout, book)
        column = layout.column()
        column.prop(settings, "prompt", text="", placeholder="A red mug")
        _draw_suggestions(column, settings, book)
        layout.row().prop(settings, "preset", expand=True)
        layout.use_property_split = True
        layout.use_property_decorate = False
        _draw_start(layout, context)
        column = layout.column()
        column.prop(settings, "model")
        preset = book.preset(settings.model, settings.preset)
        row = column.row(align=True)
        seed = row.row(align=True)
        seed.enabled = settings.lock_seed  # otherwise the next one is drawn
        seed.prop(settings, "seed")
        row.prop(settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED")
        if settings.start != MESH or not settings.paint_only:
            column.prop(settings, "variations")
        column = layout.column()
        column.scale_y = 1.6
        column.operator("dreamtime.generate", icon="OUTLINER_OB_MESH")
        latents = settings.takes_latents and settings.latent_field
        # Others take another time.
        usual = settings.field == "preset" and settings.start == starts.NOTHING and not latents
        expected = wording.expected(preset if usual else None, settings.steps or None, settings.variations)
        layout.label(text=expected, icon="TIME")
        for entry in book.running()[:_BARS]:
            _draw_running(layout, entry)


def _draw_status(layout: bpy.types.UILayout, book: Book) -> None:
    """One line on the backend, and what to do if it does not work."""
    current = runtime.current()
    text, remedy = wording.status(book)
    if not remedy:
        layout.label(text=text, icon="CHECKMARK" if book.welcome else "SORTTIME")
        return
    local = current.local_status
    silent = not current.remote and isinstance(book.trouble, Unreachable | NotRunning)
    if silent and local.stage in (Stage.CRASHED, Stage.STARTING):
        text, remedy = local.sentence, local.remedy  # which knows more than that nobody answers
    box = layout.box().column(align=True)
    wrapped(box, wording.sentence(text), icon="ERROR")
    wrapped(box, wording.sentence(remedy), icon="BLANK1")
    if silent:
        draw_start(box)


def draw_start(layout: bpy.types.UILayout) -> None:
    """The button that gets this computer's backend going, if there is one to press, and its log, if that went wrong."""
    status = runtime.current().local_status
    if status.stage in (Stage.ABSENT, Stage.OUTDATED):
        layout.operator("dreamtime.backend_install", icon="IMPORT")
    elif status.stage in (Stage.STOPPED, Stage.CRASHED):
        layout.operator("dreamtime.backend_start", text="Start Backend", icon="PLAY")
    if status.log_tail:
        layout.operator("dreamtime.backend_log", icon="TEXT")


def _draw_start(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What to begin from, and what belongs to that alone."""
    settings = context.scene.dreamtime
    column = layout.column()
    column.prop(settings, "start")
    if settings.start == MESH:
        chosen = starts.meshes_of(context)
        column.label(text=wording.chosen([one.name for one in chosen]), icon="OUTLINER_OB_MESH")
        column.prop(settings, "paint_only")
        if settings.paint_only:
            column.prop(settings, "where")
            column.prop(settings, "new_uvs")
        else:
            column.prop(settings, "strength")
            wrapped(column, wording.strength(settings.strength), icon="INFO")
    elif settings.start == PICTURE:
        column.template_ID(settings, "picture", open="image.open")
        column.operator("dreamtime.take_viewport", icon="RESTRICT_RENDER_OFF")
        column.prop(settings, "sketch")


def _draw_suggestions(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, book: Book) -> None:
    nearest = book.nearest(settings.prompt, settings.model)
    if not nearest:
        return
    layout.label(text="Not known to the model. Perhaps:", icon="QUESTION")
    grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
    for name in nearest:
        grid.operator("dreamtime.use_object", text=name.capitalize()).name = name


def _draw_running(layout: bpy.types.UILayout, entry: Entry) -> None:
    """A job's bar, its picture and its Cancel."""
    box = layout.box()
    box.label(text=entry.request.prompt)
    if begun := wording.begun_from(entry.request):
        box.label(text=begun)
    row = box.row(align=True)
    row.progress(factor=entry.fraction, text=wording.progress(entry))
    button = row.row(align=True)
    button.enabled = entry.state in (SENDING, State.QUEUED, State.RUNNING)
    button.operator("dreamtime.cancel", text="", icon="X").job = entry.job
    if entry.previews:
        box.template_icon(pictures.icon(entry), scale=_PICTURE_SCALE)
    for warning in entry.warnings:
        wrapped(box, wording.sentence(warning), icon="INFO")


class DREAMTIME_PT_advanced(Sidebar, bpy.types.Panel):
    bl_label = "Advanced"
    bl_parent_id = "DREAMTIME_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.dreamtime
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(settings, "negative")
        column.prop(settings, "size")
        column.prop(context.window_manager.dreamtime, "sculpt")
        preset = runtime.current().book.preset(settings.model, settings.preset)
        column = layout.column(align=True)
        _draw_number(column, settings, "steps", preset and preset.steps)
        _draw_number(column, settings, "cfg", preset and preset.cfg)
        column.prop(settings, "schedule")
        column.prop(settings, "field")
        if settings.takes_latents:
            column.prop(settings, "latent_field")
        _draw_curve(layout, settings)
        column = layout.column(align=True)
        _draw_number(column, settings, "faces", preset and preset.faces)
        _draw_number(column, settings, "texture", preset and preset.texture)
        column.prop(settings, "shading")


def _draw_number(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, name: str, usual: float | None) -> None:
    """A number that is the preset's where it is 0; then its label says which that is."""
    label = settings.bl_rna.properties[name].name
    hint = f" ({usual:g})" if usual and not getattr(settings, name) else ""
    layout.prop(settings, name, text=f"{label}{hint}")


def _draw_curve(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """How the noise falls from the first step to the last."""
    book = runtime.current().book
    preset = book.preset(settings.model, settings.preset)
    if book.welcome is None or preset is None:
        return
    name = preset.schedule if settings.schedule == "preset" else settings.schedule
    found = next((known for known in book.welcome.offer.schedules if known.name == name), None)
    if found and found.timesteps:
        row = layout.split(factor=0.4)
        label = row.column()
        label.alignment = "RIGHT"
        label.label(text="Noise")
        row.template_icon(pictures.curve(found.name, found.timesteps), scale=3.0)


CLASSES = (DREAMTIME_PT_main, DREAMTIME_PT_advanced)
