"""A picture that an artist has: where it shows the object, and what the object looks like from the front.

Letters: H x W pixels, N pixels of what is looked at a side.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image
from scipy import ndimage

from backend.engine.cameras import ring
from backend.engine.reference import Reference
from backend.errors import UserError
from backend.pipeline.start import FORMATS, Start

REACH = 0.85
"""How far from the middle of the unit sphere the outline reaches, in metres: the object is deep as well."""

_PIXELS = 512  # of a reference, a side
_LARGEST = 1024  # of what is looked at of a picture

_CLEAR = 0.02  # of a picture, the share that is transparent where its alpha says what the object is
_LEAST, _MOST = 0.002, 0.95  # of a picture, the share that an object takes

_LIKE = 24  # levels by which a plain background differs from its middle colour
_PLAIN = 0.95  # of the picture's edge, the share that is like it
_SAME = 4  # levels; enclosed parts so like the background are holes
_HOLE = 0.001  # of a picture, from which an enclosed part is seen to be one

_GAP = 0.01  # of a sketch's side: lines that end so close to each other meet
_THIN = 0.05  # of the outline's diagonal: what is nowhere thicker is lines alone


def reference(start: Start) -> Reference:
    """The picture that a job begins from, seen from the front. Raises UserError if it does not say what is wanted."""
    pixels, there = _outlined(start) if start.sketch else _cut_out(start)
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    middle = np.array([columns[0] + columns[-1] + 1, rows[0] + rows[-1] + 1]) / 2
    row, column = np.nonzero(there)
    radius = np.hypot(column + 0.5 - middle[0], row + 0.5 - middle[1]).max()
    camera = ring(1, elevation_degrees=0)
    half = radius * math.tan(camera.fov.item() / 2) * camera.distance.item() / REACH
    square = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    opacity = _seen(there.astype(np.float32), square)
    if start.sketch:
        return Reference(camera, opacity[0])
    layers = np.moveaxis(pixels.astype(np.float32) / 255 * there[..., None], -1, 0)
    return Reference(camera, opacity[0], torch.cat([_seen(layer, square) for layer in layers]))


def _seen(layer: Float32[np.ndarray, "H W"], square: tuple[float, float, float, float]) -> torch.Tensor:
    """What lies in a square of the layer, nothing being beyond its edges; (1, N, N)."""
    steps = (np.arange(_PIXELS) + 0.5) / _PIXELS
    left, top, right, bottom = square
    # A pixel of the square is the mean of what it covers.
    blur = max(0.0, ((right - left) / _PIXELS - 1) / 2)
    smooth = ndimage.gaussian_filter(layer, blur) if blur else layer
    at = np.meshgrid(top + steps * (bottom - top) - 0.5, left + steps * (right - left) - 0.5, indexing="ij")
    found = ndimage.map_coordinates(smooth, at, order=1, mode="constant")
    return torch.from_numpy(found.astype(np.float32))[None].clamp(0, 1)


def opened(path: Path) -> Image.Image:
    """The picture in a file, with alpha, as large as it is looked at. Raises UserError."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.load()
            found = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} cannot be read ({error}); save the picture as PNG again") from error
    found.thumbnail((_LARGEST, _LARGEST))
    return found


def _cut_out(start: Start) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The picture's colours, and where the object is: by the mask, by alpha, or before a plain background."""
    picture = np.asarray(opened(start.path))
    pixels, alpha = picture[..., :3], picture[..., 3]
    if start.mask is not None:
        mask = opened(start.mask)
        if mask.size != picture.shape[1::-1]:
            raise UserError(f"{start.mask} and {start.path} differ in size; draw the mask over the picture itself")
        there = np.asarray(mask.convert("L")) >= 128
    elif (alpha < 128).mean() > _CLEAR:
        there = alpha >= 128
    else:
        there = ~_background(pixels)
    if not _LEAST < there.mean() < _MOST:
        what = "mask" if start.mask else "picture"
        raise UserError(
            f"the {what} shows no object that could be told from what is around it; make that transparent, or draw "
            "another --mask"
        )
    return pixels, there


def _background(pixels: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """Where the plain background is that reaches the picture's edge. Raises UserError if there is none."""
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(int)
    colour = np.median(edge, axis=0)
    if (np.abs(edge - colour).max(-1) <= _LIKE).mean() < _PLAIN:
        raise UserError(
            "the picture has no alpha and no plain background; make what is around the object transparent, or name a "
            "second picture, white where the object is, with --mask"
        )
    apart = np.abs(pixels - colour).max(-1)
    pieces, _ = ndimage.label(apart <= _LIKE)
    outer = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    holes, _ = ndimage.label(apart <= _SAME)
    large = np.flatnonzero(np.bincount(holes.ravel()) >= _HOLE * holes.size)
    return np.isin(pieces, outer[outer > 0]) | np.isin(holes, large[large > 0])


def _outlined(start: Start) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The sketch, and what its lines enclose."""
    pixels, ink = _cut_out(start)
    gap = math.ceil(_GAP * max(ink.shape))
    wide = np.pad(ink, 2 * gap)
    disc = np.hypot(*np.mgrid[-gap : gap + 1, -gap : gap + 1]) <= gap
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(wide, disc))[2 * gap : -2 * gap, 2 * gap : -2 * gap]
    thickest = ndimage.distance_transform_edt(np.pad(filled, 1)).max()
    rows, columns = np.nonzero(filled)
    if thickest < _THIN * math.hypot(np.ptp(rows), np.ptp(columns)):
        raise UserError(f"the outline in {start.path} is open; close it, or fill what it should enclose")
    return pixels, filled
