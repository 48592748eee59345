from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.pictures import BACKGROUND, write_preview, write_turntable

PAPER = np.array(BACKGROUND) * 255
RED, BLUE = (220, 30, 30), (30, 30, 220)


@pytest.fixture
def asset() -> Asset:
    """A cube with a red front (-y) and blue other sides."""
    vertices = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
    sides = np.array([[0, 4, 5, 1], [0, 1, 3, 2], [4, 6, 7, 5], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    triangles = sides[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3).astype(np.int32)
    uvs = np.full((12, 3, 2), 0.25, np.float32)
    uvs[2:, :, 0] = 0.75
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:, :4], texture[:, 4:] = RED, BLUE
    mesh = TriangleMesh(vertices, triangles)
    return Asset(mesh, uvs, texture, shaded(mesh, "auto"))


def hue(pixel: np.ndarray) -> np.ndarray:
    """The colour without its brightness."""
    return pixel / pixel.sum()


def test_the_preview_shows_eight_views_the_front_first(asset: Asset, tmp_path: Path) -> None:
    write_preview(asset, tmp_path / "preview.png", size=32)
    sheet = np.asarray(Image.open(tmp_path / "preview.png").convert("RGB"), float)
    assert sheet.shape == (64, 128, 3)
    middles = sheet[16::32, 16::32]
    np.testing.assert_allclose(hue(middles[0, 0]), hue(np.array(RED)), atol=0.02)
    for middle in middles[0, 1:]:
        np.testing.assert_allclose(hue(middle), hue(np.array(BLUE)), atol=0.02)
    np.testing.assert_allclose(sheet[::32, ::32].reshape(-1, 3), np.tile(PAPER, (8, 1)), atol=1)


def test_the_turntable_turns_once_and_for_ever(asset: Asset, tmp_path: Path) -> None:
    path = tmp_path / "turn.gif"
    write_turntable(asset, path, frames=8, size=32, seconds=0.8)
    with Image.open(path) as turn:
        assert turn.info["loop"] == 0
        assert turn.info["duration"] == 100
        frames = [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(turn)]
    assert len(frames) == 8
    red = [int((frame[..., 0] > 2 * frame[..., 2]).sum()) for frame in frames]
    # The red side goes out of sight on one side and comes back on the other.
    assert red[0] == max(red)
    assert red[3:6] == [0, 0, 0]
    assert abs(red[1] - red[7]) < 10
    for frame in frames:
        np.testing.assert_allclose(frame[0, 0], PAPER, atol=8)


@pytest.mark.parametrize("write", [write_preview, write_turntable])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(write, asset: Asset, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "picture"
    path.write_text("old")

    def full(*_) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write(asset, path, size=8)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("picture", "old")]
