"""Images on disk."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def save_sheet(images: Float[Tensor, "B 3 H W"], path: Path, columns: int, zoom: int = 3) -> None:
    """Write images in [0, 1] as one PNG, `columns` to a row, pixels enlarged `zoom` times, missing ones black."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.zeros(rows * columns, 3, height, width)
    sheet[:count] = images.cpu()
    sheet = sheet.reshape(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    pixels = (sheet.reshape(rows * height, columns * width, 3) * 255).round().to(torch.uint8).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((columns * width * zoom, rows * height * zoom), Image.Resampling.NEAREST).save(path)


def save_captioned_sheet(
    images: Float[Tensor, "B 3 H W"], captions: Sequence[Sequence[str]], path: Path, columns: int, zoom: int = 2
) -> None:
    """Write images in [0, 1] as one PNG, `columns` to a row, with lines of text beneath each, cut to its width."""
    font = ImageFont.load_default(size=11)
    height, width = zoom * images.shape[-2], zoom * images.shape[-1]
    step = 13
    row = height + step * max(map(len, captions)) + 3
    sheet = Image.new("RGB", (columns * width, -(-len(images) // columns) * row))
    draw = ImageDraw.Draw(sheet)
    for place, (image, lines) in enumerate(zip(images, captions, strict=True)):
        left, top = place % columns * width, place // columns * row
        pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
        sheet.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), (left, top))
        for number, line in enumerate(lines):
            while font.getlength(line) > width - 4:
                line = line[:-2]
            draw.text((left + 2, top + height + step * number), line, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
