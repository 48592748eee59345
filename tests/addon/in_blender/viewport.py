"""The viewport as a picture to begin from; what draws it needs a window, and is put in here."""

from types import SimpleNamespace

import bpy
import numpy as np
from desk import module

viewport, gathering = module("viewport"), module("gathering")
asked: list[tuple[int, int]] = []
shown = np.float32([0.25, 0.5, 0.0, 0.5])


def drawn(context: object, space: SimpleNamespace, region: object, width: int, height: int) -> np.ndarray:
    assert not space.overlay.show_overlays
    assert not space.show_gizmo
    asked.append((width, height))
    values = np.zeros((height, width, 4), np.float32)
    values[: height // 2] = shown  # below
    return values


def context(width: int, height: int) -> SimpleNamespace:
    regions = [
        SimpleNamespace(type="UI", width=10, height=10),
        SimpleNamespace(type="WINDOW", width=width, height=height),
    ]
    space = SimpleNamespace(overlay=SimpleNamespace(show_overlays=True), show_gizmo=True)
    return SimpleNamespace(area=SimpleNamespace(regions=regions), space_data=space)


viewport._drawn = drawn
seen = context(3000, 1500)
image = viewport.picture(seen)
assert asked == [(1024, 512)]
assert (tuple(image.size), image.packed_file is not None) == ((1024, 512), True)
pixels = gathering.pixels_of(image)
assert pixels.values.shape == (512, 1024, 4), "the upper row comes first"
np.testing.assert_allclose(pixels.values[-1, 0], [0.5, 1.0, 0.0, 0.5], atol=1 / 255)
assert pixels.values[0, 0, 3] == 0, "around the objects it is transparent"
assert seen.space_data.overlay.show_overlays
assert seen.space_data.show_gizmo

# --- what cannot be taken leaves the viewport, and the file, as they were ---
shown = np.float32([0, 0, 0, 0])
seen, before = context(64, 64), len(bpy.data.images)
try:
    viewport.picture(seen)
except gathering.NotGathered as error:
    assert "shows no object" in str(error)
else:
    raise AssertionError("there is nothing to begin from")
assert asked[-1] == (64, 64), "a small one is not made larger"
assert seen.space_data.overlay.show_overlays
assert len(bpy.data.images) == before
print("taken as it is")
