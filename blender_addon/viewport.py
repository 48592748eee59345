"""The viewport as it is, as a picture to begin from."""

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import gpu
import numpy as np

from .gathering import PICTURE_SIDE, NotGathered

NAME = "Viewport"

_SEEN = 0.5 / 255
"""Alpha from which on a pixel shows anything."""


def picture(context: bpy.types.Context) -> bpy.types.Image:
    """A new image of what the viewport of `context` shows, transparent around the objects. Raises NotGathered."""
    area, space = context.area, context.space_data
    region = next(one for one in area.regions if one.type == "WINDOW")
    share = min(1.0, PICTURE_SIDE / max(region.width, region.height))
    width, height = max(1, round(region.width * share)), max(1, round(region.height * share))
    with _bare(space):
        values = _drawn(context, space, region, width, height)
    alpha = values[..., 3:]
    if not (alpha > _SEEN).any():
        raise NotGathered("The viewport shows no object: turn it to what you want, and take it again")
    values[..., :3] /= alpha.clip(_SEEN)  # colours come multiplied by it, and images have them as they are
    image = bpy.data.images.new(NAME, width, height, alpha=True)
    image.pixels.foreach_set(values.clip(0, 1).ravel())
    image.pack()
    return image


@contextmanager
def _bare(space: bpy.types.SpaceView3D) -> Iterator[None]:
    """Without grid, gizmos, outlines and whatever else is no object."""
    overlays, gizmos = space.overlay.show_overlays, space.show_gizmo
    space.overlay.show_overlays = space.show_gizmo = False
    try:
        yield
    finally:
        space.overlay.show_overlays, space.show_gizmo = overlays, gizmos


def _drawn(
    context: bpy.types.Context, space: bpy.types.SpaceView3D, region: bpy.types.Region, width: int, height: int
) -> np.ndarray:
    """(height, width, 4), the lower row first."""
    view = space.region_3d
    try:
        offscreen = gpu.types.GPUOffScreen(width, height)
    except (RuntimeError, SystemError) as error:
        raise NotGathered("There is too little graphics memory for a picture of the viewport") from error
    try:
        offscreen.draw_view3d(
            context.scene,
            context.view_layer,
            space,
            region,
            view.view_matrix,
            view.window_matrix,
            do_color_management=True,
            draw_background=False,
        )
        with offscreen.bind():
            read = gpu.state.active_framebuffer_get().read_color(0, 0, width, height, 4, 0, "FLOAT")
    finally:
        offscreen.free()
    read.dimensions = width * height * 4
    return np.array(read, np.float32).reshape(height, width, 4)
