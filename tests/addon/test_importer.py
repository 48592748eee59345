"""Import into real Blenders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.glb import write_glb
from backend.mesh.names import SHADINGS, ShadingName

HERE = Path(__file__).parent / "in_blender"
CREASES = 12
"""Edges of a box."""


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder with a box as a result: red above, blue elsewhere, every face with a place of its own in the texture."""
    return result(tmp_path / "result", (255, 0, 0), (0, 0, 255))


def result(
    folder: Path, above: tuple[int, int, int], elsewhere: tuple[int, int, int], shading: ShadingName = "auto"
) -> Path:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.3, 0.3) for z in (-0.2, 0.2)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([(q[0], q[a], q[a + 1]) for q in quads for a in (1, 2)], np.int32)
    uvs = np.zeros((12, 3, 2), np.float32)
    for number in range(12):
        column, row = divmod(number, 6)
        left, low = column / 2 + 0.05, row / 6 + 0.02
        uvs[number] = [(left, low), (left + 0.4, low), (left, low + 0.12)]
    texture = np.full((64, 64, 3), elsewhere, np.uint8)
    up = [number for number in range(12) if quads[number // 2] == quads[5]]
    for number in up:
        column, row = divmod(number, 6)
        rows = slice(64 - round((row + 1) / 6 * 64), 64 - round(row / 6 * 64))  # pictures begin above
        texture[rows, column * 32 : column * 32 + 32] = above
    folder.mkdir()
    mesh = TriangleMesh(corners, triangles)
    recipe = {"seed": 7, "mesh": {"shading": shading}}
    write_glb(Asset(mesh, uvs, texture, shaded(mesh, shading)), folder / "mesh.glb", "Box", recipe)
    return folder


def test_a_result_becomes_an_ordinary_object(
    blender: Path, run_blender: Callable[..., str], box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    assert "imported as it should be" in run_blender(blender, HERE / "import_result.py", box, CREASES)


def test_a_result_is_shaded_as_was_asked(
    blender: Path, run_blender: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    made = [result(tmp_path / name, (255, 0, 0), (0, 0, 255), name) for name in SHADINGS]
    assert "shaded as was asked" in run_blender(blender, HERE / "shading.py", CREASES, *made)


def test_an_import_is_one_step_of_undo(
    blender: Path, run_blender: Callable[..., str], box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    assert "done again as it should be" in run_blender(blender, HERE / "undo.py", box)


def test_objects_of_one_prompt_keep_their_textures_through_every_exporter(
    blender: Path, run_blender: Callable[..., str], box: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    other = result(tmp_path / "other", (0, 128, 0), (255, 255, 0))
    assert "each with its own texture" in run_blender(blender, HERE / "exporters.py", box, other, tmp_path / "exported")


def test_a_result_shows_its_texture_at_once(
    blender: Path, run_blender: Callable[..., str], box: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    run_blender(blender, HERE / "look.py", box, tmp_path / "seen.png")
    seen = np.asarray(Image.open(tmp_path / "seen.png"), np.float32) / 255
    whole = seen[..., 3] == 1
    assert 0.1 < whole.mean() < 0.9
    colours = seen[whole][:, :3]
    red = colours[:, 0] > colours[:, 2]
    assert 0.1 < red.mean() < 0.9, "the box is red above and blue at its sides"
    # White light on a surface that is not quite dull adds some of itself.
    np.testing.assert_allclose(np.median(colours[red], axis=0), [1, 0, 0], atol=0.3)
    np.testing.assert_allclose(np.median(colours[~red], axis=0), [0, 0, 1], atol=0.3)
