"""Pictures for the panel: previews of running jobs, thumbnails of finished ones, the curve of a schedule."""

from pathlib import Path

import bpy
import bpy.utils.previews
import numpy as np

from . import runtime
from .session.book import Entry

_CURVE_SIZE = (128, 64)
_CURVE_COLOUR = (0.36, 0.62, 0.93, 1.0)
_NOISIEST = 1000
"""The timesteps that diffusion models are trained with."""

_collection: bpy.utils.previews.ImagePreviewCollection | None = None


def register() -> None:
    global _collection
    _collection = bpy.utils.previews.new()


def unregister() -> None:
    global _collection
    if _collection is not None:
        bpy.utils.previews.remove(_collection)
    _collection = None


def keep(entry: Entry) -> None:
    """Keep a running job's latest preview as its thumbnail, and show it from now on."""
    path = runtime.current().thumbnail(entry.job)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(entry.preview)
    _load(entry.job, path, again=True)


def icon(entry: Entry) -> int:
    """The icon of a job's picture, or 0 if there is none."""
    for path in (runtime.current().thumbnail(entry.job), runtime.current().results(entry.job) / "preview.png"):
        if entry.job in _loaded() or path.is_file():
            return _load(entry.job, path, again=False)
    return 0


def curve(name: str, timesteps: tuple[int, ...]) -> int:
    """The icon of a schedule's curve: timesteps over the steps, noisy above, clean below."""
    loaded, key = _loaded(), f"schedule {name}"
    if key not in loaded:
        width, height = _CURVE_SIZE
        pixels = np.zeros((height, width, 4), np.float32)
        column = np.linspace(0, len(timesteps) - 1, width)
        row = np.interp(column, np.arange(len(timesteps)), timesteps) / _NOISIEST * (height - 1)
        below = np.arange(height)[:, None] <= row
        pixels[below] = _CURVE_COLOUR
        picture = loaded.new(key)
        picture.image_size = _CURVE_SIZE
        picture.image_pixels_float = pixels.ravel()
    return int(loaded[key].icon_id)


def forget(job: str) -> None:
    if job in _loaded():
        del _loaded()[job]
    runtime.current().thumbnail(job).unlink(missing_ok=True)


def _loaded() -> bpy.utils.previews.ImagePreviewCollection:
    if _collection is None:
        raise RuntimeError("pictures are not registered")
    return _collection


def _load(name: str, path: Path, again: bool) -> int:
    loaded = _loaded()
    if again and name in loaded:
        del loaded[name]
    if name not in loaded:
        picture = loaded.load(name, str(path), "IMAGE")
        _ = picture.image_size[:]  # reads it now: left to Blender, a spinner stands there until it has time
    return int(loaded[name].icon_id)
