"""PNG files that the add-on writes are what other programs read."""

import io
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from shared import inputs
from shared.inputs import BEGINNING_BYTES, PICTURE


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
def test_pixels_come_back_as_they_were(module: Callable[[str], ModuleType], size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 4), np.uint8)
    content = module("png").packed(pixels)
    with Image.open(io.BytesIO(content)) as read:
        assert read.mode == "RGBA"
        assert np.array_equal(np.asarray(read), pixels)
    inputs.check(PICTURE, content[:BEGINNING_BYTES], len(content))
