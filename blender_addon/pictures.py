"""Pictures for the panel: previews of running jobs, thumbnails of finished ones, the curve of a schedule."""

from contextlib import suppress
from pathlib import Path

import bpy
import bpy.utils.previews
import numpy as np

from . import runtime
from .session.book import Entry

_CURVE_SIZE = (128, 64)
_CURVE_COLOUR = (0.36, 0.62, 0.93, 1.0)
_BLANK = Path(__file__).with_name("blank.png")
_NOISIEST = 1000
"""The timesteps that diffusion models are trained with."""

_collection: bpy.utils.previews.ImagePreviewCollection | None = None

_wanted: list[str] = []
"""Jobs that the panel would show a picture of, and that were not looked for yet."""

_without: set[str] = set()
"""Jobs that were looked for in vain."""


def register() -> None:
    global _collection
    _collection = bpy.utils.previews.new()
    if not bpy.app.background:
        _load("blank", _BLANK)  # the first picture takes Blender 50 ms or more: better now than while somebody works


def unregister() -> None:
    global _collection
    if _collection is not None:
        bpy.utils.previews.remove(_collection)
    _collection = None
    _wanted.clear()
    _without.clear()


def keep(entry: Entry) -> None:
    """Keep a running job's latest preview as its thumbnail, and show it from now on."""
    path = runtime.current().thumbnail(entry.job)
    with suppress(OSError):  # on a full disk the picture before stays
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.preview)
        _load(entry.job, path)


def icon(entry: Entry) -> int:
    """The icon of a job's picture, or 0 if there is none yet. Drawing waits for no file: `load_next` brings it."""
    if entry.job in _loaded():
        return int(_loaded()[entry.job].icon_id)
    if entry.job not in _wanted and entry.job not in _without:
        _wanted.append(entry.job)
    return 0


def load_next() -> bool:
    """Load a picture that the panel waits for; whether there was one."""
    if not _wanted:
        return False
    job = _wanted.pop(0)
    current = runtime.current()
    for path in (current.thumbnail(job), current.results(job) / "preview.png"):
        if path.is_file():
            _load(job, path)
            return True
    _without.add(job)
    return False


def look_again(job: str) -> None:
    """There may be a picture of it now."""
    _without.discard(job)


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


def _load(name: str, path: Path) -> None:
    loaded = _loaded()
    if name in loaded:
        del loaded[name]
    picture = loaded.load(name, str(path), "IMAGE")
    _ = picture.image_size[:]  # reads it now: left to Blender, a spinner stands there until it has time
