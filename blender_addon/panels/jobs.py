"""The list of jobs: pictures, how they stand, and what can be done with them."""

import bpy
from bpy.props import StringProperty

from .. import pictures, runtime
from ..labels import wrapped
from ..session import wording
from ..session.book import ASKING, REFUSED, Entry
from ..shared.states import State
from .main import Sidebar

PER_PAGE = 6
_THUMBNAIL_SCALE = 3.0
_BESIDE_PICTURE = 75


class DREAMTIME_PT_jobs(Sidebar, bpy.types.Panel):
    bl_label = "Jobs"
    bl_parent_id = "DREAMTIME_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        layout, view = self.layout, context.window_manager.dreamtime
        finished = [entry for entry in runtime.current().book.newest_first() if not entry.running]
        if not finished:
            layout.label(text="Nothing was made yet")
            return
        pages = (len(finished) + PER_PAGE - 1) // PER_PAGE
        page = min(view.page, pages - 1)
        for entry in finished[page * PER_PAGE : (page + 1) * PER_PAGE]:
            _draw_entry(layout, entry)
        if pages > 1:
            row = layout.row(align=True)
            _page_button(row, "TRIA_LEFT", page - 1, page > 0)
            row.label(text=f"{page + 1} of {pages}")
            _page_button(row, "TRIA_RIGHT", page + 1, page < pages - 1)


def _draw_entry(layout: bpy.types.UILayout, entry: Entry) -> None:
    row = layout.box().row()
    picture = pictures.icon(entry)
    if picture:
        row.template_icon(picture, scale=_THUMBNAIL_SCALE)
    column = row.column(align=True)
    column.label(text=entry.request.prompt)
    if begun := wording.begun_from(entry.request):
        column.label(text=begun)
    took = f" · {wording.duration(entry.seconds)}" if entry.seconds and entry.state == State.DONE else ""
    column.label(text=f"{wording.outcome(entry)}{took}")
    inset = _BESIDE_PICTURE if picture else 0
    for warning in entry.warnings:
        wrapped(column, wording.sentence(warning), icon="INFO", inset=inset)
    if entry.trouble and entry.state in (State.FAILED, REFUSED, State.DONE):
        wrapped(column, wording.sentence(entry.trouble[0]), icon="ERROR", inset=inset)
        wrapped(column, wording.sentence(entry.trouble[1]), icon="BLANK1", inset=inset)
    buttons = column.row(align=True)
    if entry.fetched:
        buttons.operator("dreamtime.import_result", text="Import", icon="IMPORT").job = entry.job
    elif entry.available:
        buttons.operator("dreamtime.fetch", text="Fetch", icon="IMPORT").job = entry.job
    elif entry.state != ASKING:
        buttons.operator("dreamtime.generate_again", text="Retry", icon="FILE_REFRESH").job = entry.job
    menu = buttons.operator("dreamtime.job_menu", text="", icon="DOWNARROW_HLT")
    menu.job = entry.job


def _page_button(row: bpy.types.UILayout, icon: str, page: int, enabled: bool) -> None:
    part = row.row()
    part.enabled = enabled
    button = part.operator("wm.context_set_int", text="", icon=icon)
    button.data_path, button.value = "window_manager.dreamtime.page", max(0, page)


class DREAMTIME_OT_job_menu(bpy.types.Operator):
    """More that can be done with this job"""

    bl_idname = "dreamtime.job_menu"
    bl_label = "Job"
    bl_options = {"INTERNAL"}

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = self.job

        def draw(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
            layout = menu.layout
            layout.operator_context = "INVOKE_DEFAULT"
            for name, icon in (
                ("dreamtime.generate_again", "FILE_REFRESH"),
                ("dreamtime.copy_settings", "COPYDOWN"),
                ("dreamtime.delete", "TRASH"),
            ):
                layout.operator(name, icon=icon).job = job

        context.window_manager.popup_menu(draw, title="Job")
        return {"FINISHED"}


CLASSES = (DREAMTIME_PT_jobs, DREAMTIME_OT_job_menu)
