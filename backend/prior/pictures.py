"""Images on disk."""

from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
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
