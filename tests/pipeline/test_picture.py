"""Where a picture shows the object, and the sentence for one that does not say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backend.errors import UserError
from backend.pipeline.picture import REACH, reference
from backend.pipeline.start import Start

SIDE = 96
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
DISC = np.hypot(ROWS - 40, COLUMNS - 60) < 25
RING = DISC & (np.hypot(ROWS - 40, COLUMNS - 60) > 12)


def start(path: Path, **changes: Any) -> Start:
    return Start("picture", path, "sha256:0", 1.0, **changes)


def painted(path: Path, there: np.ndarray, background: int = 240) -> Path:
    """Red on a plain background, a little noisy as a JPEG is."""
    noise = np.random.default_rng(0).integers(-2, 3, (SIDE, SIDE, 3))
    Image.fromarray((np.where(there[..., None], (200, 30, 30), background) + noise).astype(np.uint8)).save(path)
    return path


def test_an_object_before_a_plain_background_is_cut_out_centred_and_scaled(tmp_path: Path) -> None:
    found = reference(start(painted(tmp_path / "disc.png", DISC)))
    assert found.colour is not None
    assert (found.camera.azimuth.item(), found.camera.elevation.item()) == (0.0, 0.0)
    size = len(found.opacity)
    half = (found.camera.distance * torch.tan(found.camera.fov / 2)).item()
    axis = ((torch.arange(size) + 0.5) / size * 2 - 1) * half
    wanted = torch.hypot(axis[:, None], axis[None]) < REACH
    assert ((found.opacity > 0.5) & wanted).sum() / ((found.opacity > 0.5) | wanted).sum() > 0.95
    middle = found.colour[:, size // 2, size // 2]
    torch.testing.assert_close(middle, torch.tensor([200, 30, 30]) / 255, atol=0.02, rtol=0)
    assert found.colour[:, 0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("way", ["plain", "alpha", "mask"])
def test_alpha_a_mask_and_a_plain_background_say_the_same(tmp_path: Path, way: str) -> None:
    plain = reference(start(painted(tmp_path / "disc.png", RING)))
    busy = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    busy[RING] = (200, 30, 30)
    path, mask = tmp_path / "busy.png", None
    if way == "alpha":
        Image.fromarray(np.dstack([busy, RING.astype(np.uint8) * 255])).save(path)
    elif way == "mask":
        Image.fromarray(busy).save(path)
        mask = tmp_path / "mask.png"
        Image.fromarray(RING.astype(np.uint8) * 255).save(mask)
    else:
        painted(path, RING, background=20)
    found = reference(start(path, mask=mask))
    assert (found.opacity - plain.opacity).abs().mean() < 0.01
    assert plain.opacity[len(plain.opacity) // 2, len(plain.opacity) // 2] < 0.1  # the hole is one


def test_a_picture_that_says_nothing_of_its_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "busy.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match=r"no alpha and no plain background; make what is around"):
        reference(start(path))


def test_an_empty_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shows no object"):
        reference(start(painted(tmp_path / "empty.png", np.zeros_like(DISC))))


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    path = painted(tmp_path / "disc.png", DISC)
    Image.new("L", (SIDE, SIDE - 1)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="differ in size; draw the mask over the picture itself"):
        reference(start(path, mask=tmp_path / "mask.png"))


def test_a_torn_picture_is_refused(tmp_path: Path) -> None:
    path = painted(tmp_path / "disc.png", DISC)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match="cannot be read"):
        reference(start(path))


def line(*, gap: float = 0.0) -> np.ndarray:
    """The outline of the disc, three pixels wide, open over `gap` radians."""
    radius = np.hypot(ROWS - 40, COLUMNS - 60)
    angle = np.abs(np.arctan2(ROWS - 40, COLUMNS - 60))
    return (np.abs(radius - 25) < 1.5) & (angle >= gap / 2)


def test_a_sketch_is_filled_and_has_no_colour(tmp_path: Path) -> None:
    whole = reference(start(painted(tmp_path / "disc.png", DISC)))
    for name, there in (("line", line()), ("nearly closed", line(gap=0.04)), ("filled", DISC)):
        found = reference(start(painted(tmp_path / f"{name}.png", there), sketch=True))
        assert found.colour is None
        assert (found.opacity - whole.opacity).abs().mean() < 0.05


def test_an_open_outline_is_refused(tmp_path: Path) -> None:
    path = painted(tmp_path / "open.png", line(gap=0.8))
    with pytest.raises(
        UserError, match=r"the outline in .*open\.png is open; close it, or fill what it should enclose"
    ):
        reference(start(path, sketch=True))
