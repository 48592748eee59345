"""Text that is longer than a line."""

import blf
import bpy

DIALOGUE_WIDTH = 560
"""Of a dialogue with sentences in it, in pixels at a scale of 1."""

_FONT = 0
_USUAL_WIDTH, _BESIDES, _ICON = 280, 70, 24
_BESIDES_IN_DIALOGUE = 20
"""Pixels: of the sidebar, of what frames a line in it or in a dialogue, and of an icon."""


def wrapped(
    layout: bpy.types.UILayout, text: str, icon: str = "NONE", inset: int = 0, dialogue: int | None = None
) -> None:
    """A sentence in as many lines as it needs; labels do not wrap by themselves, and shorten what does not fit.

    inset: pixels that stand beside it, but for its icon. dialogue: the width that a dialogue was asked for with;
    without one, it is the region's, as in a sidebar.
    """
    preferences, region = bpy.context.preferences, bpy.context.region
    scale = preferences.system.ui_scale
    if dialogue:
        width, beside = dialogue * scale, _BESIDES_IN_DIALOGUE
    else:
        width, beside = region.width if region else _USUAL_WIDTH * scale, _BESIDES
    room = width - (beside + inset + (_ICON if icon != "NONE" else 0)) * scale
    blf.size(_FONT, preferences.ui_styles[0].widget.points * scale)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if blf.dimensions(_FONT, longer)[0] <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    for index, line in enumerate(lines):
        layout.label(text=line, icon=icon if index == 0 else "BLANK1" if icon != "NONE" else "NONE")
