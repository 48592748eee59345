"""What is shown of a finished mesh: a sheet of stills and a turntable.

Letters: B pictures, H x W pixels, 3 colours.
"""

import io
import math
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from backend.engine.cameras import Cameras, ring
from backend.engine.shading import Lights, over
from backend.files import write_whole
from backend.mesh.asset import Asset
from backend.mesh.raycast import render

BACKGROUND = (0.90, 0.91, 0.92)
AMBIENT = 0.5

_KEY_RIGHT, _KEY_UP = -0.5, 0.7  # where the light stands, seen from the camera, in units of its distance ahead


def write_preview(asset: Asset, path: Path, size: int = 256) -> None:
    """Write a PNG of eight views, size x size pixels each: four from the side, then four from above and between.

    Raises OSError if the file cannot be written; nothing half-written stays.
    """
    low, high = ring(4, 10), ring(4, 40)
    sheet = Cameras(
        azimuth=torch.cat([low.azimuth, high.azimuth + math.pi / 4]),
        elevation=torch.cat([low.elevation, high.elevation]),
        fov=torch.cat([low.fov, high.fov]),
        distance=torch.cat([low.distance, high.distance]),
    )
    rows = [torch.cat(list(row), dim=-1) for row in lit(asset, sheet, size).split(4)]
    image = _image(torch.cat(rows, dim=-2))
    encoded = io.BytesIO()
    image.save(encoded, format="PNG", optimize=True)
    write_whole(path, encoded.getvalue())


def write_turntable(asset: Asset, path: Path, frames: int = 36, size: int = 256, seconds: float = 3.6) -> None:
    """Write an endless GIF of one turn, size x size pixels.

    Raises OSError if the file cannot be written; nothing half-written stays.
    """
    pictures = lit(asset, ring(frames, 15), size)
    # One palette for all frames: colours that change from frame to frame flicker.
    palette = _image(torch.cat(list(pictures[:: max(1, frames // 6)]), dim=-1)).quantize(dither=Image.Dither.NONE)
    images = [_image(picture).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
    encoded = io.BytesIO()
    images[0].save(
        encoded,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 * seconds / frames),
        loop=0,
    )
    write_whole(path, encoded.getvalue())


def lit(asset: Asset, cameras: Cameras, size: int) -> Float[Tensor, "B 3 H W"]:
    """Pictures in soft light from above the camera's left shoulder, on a plain background."""
    right, up = cameras.right_and_up
    towards = torch.nn.functional.normalize(cameras.backward + _KEY_RIGHT * right + _KEY_UP * up, dim=-1)
    count = len(towards)
    shown = render(asset, cameras, size, Lights(towards, torch.full((count,), AMBIENT)))
    return over(shown.colour, shown.opacity, torch.tensor([BACKGROUND]).expand(count, 3))


def _image(picture: Float[Tensor, "3 H W"]) -> Image.Image:
    return Image.fromarray((picture.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy())
