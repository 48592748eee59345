import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from backend.mesh import charts
from backend.mesh import unwrap as unwrapping
from backend.mesh.asset import TriangleMesh
from backend.mesh.clean import clean
from backend.mesh.surface import extract
from backend.mesh.unwrap import GUTTER, UnwrapError, charted, overlapping, paired_islands, pieces, unwrap

SIZE = 256


def bumpy_ball(faces: int) -> TriangleMesh:
    axis = np.linspace(-1, 1, 64)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    bumps = 0.04 * np.sin(17 * x) * np.sin(15 * y + 1) * np.sin(19 * z + 2)
    return clean(extract(np.exp(20 * (0.7 + bumps - np.sqrt(x * x + y * y + z * z))).astype(np.float32), 1.0), faces)


MESH = bumpy_ball(2500)


@pytest.fixture(scope="module")
def uvs() -> Float32[np.ndarray, "F 3 2"]:
    return charted(MESH, SIZE)


def covering(uvs: Float32[np.ndarray, "F 3 2"], size: int) -> list[list[tuple[int, int]]]:
    """The texels (x, y) whose centres lie strictly inside each triangle, one by one."""
    found = []
    for a, b, c in uvs.astype(np.float64) * size:
        low, high = np.floor(np.min([a, b, c], axis=0)).astype(int), np.ceil(np.max([a, b, c], axis=0)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        sides = np.stack(
            [(q[0] - p[0]) * (y + 0.5 - p[1]) - (q[1] - p[1]) * (x + 0.5 - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        )
        inside = (sides > 1e-6).all(0) | (sides < -1e-6).all(0)
        found.append(list(zip(x[inside].tolist(), y[inside].tolist(), strict=True)))
    return found


def counts(uvs: Float32[np.ndarray, "F 3 2"], size: int) -> np.ndarray:
    picture = np.zeros((size, size), int)
    for texels in covering(uvs, size):
        for x, y in texels:
            picture[y, x] += 1
    return picture


def islands(uvs: Float32[np.ndarray, "F 3 2"]) -> np.ndarray:
    """A number per triangle, the same for triangles that share a corner's place."""
    parent = list(range(len(uvs)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[tuple[float, ...], int] = {}
    for face, corners in enumerate(uvs.tolist()):
        for corner in corners:
            parent[root(face)] = root(seen.setdefault(tuple(corner), face))
    return np.array([root(face) for face in range(len(uvs))])


def test_every_triangle_has_a_place_within_the_texture(uvs: Float32[np.ndarray, "F 3 2"]) -> None:
    assert uvs.shape == (len(MESH.triangles), 3, 2)
    assert uvs.min() >= 0
    assert uvs.max() <= 1


def test_islands_are_few(uvs: Float32[np.ndarray, "F 3 2"]) -> None:
    assert len(set(islands(uvs))) < len(MESH.triangles) / 50


def test_no_texel_belongs_to_two_triangles_and_a_good_part_is_used(uvs: Float32[np.ndarray, "F 3 2"]) -> None:
    picture = counts(uvs, SIZE)
    assert picture.max() == 1
    assert picture.mean() > 0.35


def test_islands_keep_their_distance(uvs: Float32[np.ndarray, "F 3 2"]) -> None:
    # Texels are 1 apart, so centres in islands that are 2 apart differ by at least 2 in x or y.
    owner = np.full((SIZE + 2, SIZE + 2), -1)
    for island, texels in zip(islands(uvs), covering(uvs, SIZE), strict=True):
        for x, y in texels:
            owner[y + 1, x + 1] = island
    here = owner[1:-1, 1:-1]
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = owner[1 + dy : SIZE + 1 + dy, 1 + dx : SIZE + 1 + dx]
        assert ((here == there) | (here < 0) | (there < 0)).all()


def test_triangles_keep_their_proportions(uvs: Float32[np.ndarray, "F 3 2"]) -> None:
    def area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(np.cross(a, b), axis=-1)

    solid = MESH.vertices[MESH.triangles].astype(np.float64)
    flat = np.pad(uvs.astype(np.float64), ((0, 0), (0, 0), (0, 1)))
    ratio = area(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]) / area(
        solid[:, 1] - solid[:, 0], solid[:, 2] - solid[:, 0]
    )
    middle = np.median(ratio)
    assert ((ratio > middle / 2) & (ratio < middle * 2)).mean() > 0.9


def test_pieces_are_small_and_take_every_face() -> None:
    piece = pieces(MESH)
    sizes = np.bincount(piece)
    assert sizes.sum() == len(MESH.triangles)
    assert sizes.max() <= 1000
    assert sizes.min() >= 500


@pytest.mark.parametrize(("faces", "size"), [(1, 64), (7, 64), (100, 256), (2000, 512)])
def test_paired_islands_never_overlap_and_stay_apart(faces: int, size: int) -> None:
    uvs = paired_islands(faces, size)
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    covered = covering(uvs, size)
    texels = [texel for some in covered for texel in some]
    assert len(set(texels)) == len(texels)
    assert all(covered)
    # The long sides of a pair face each other across the gutter.
    if faces > 1:
        normal = np.array([1, 1]) / np.sqrt(2)
        assert ((uvs[1] @ normal).min() - (uvs[0] @ normal).max()) * size >= GUTTER * 0.99


def test_overlaps_are_found() -> None:
    one = np.array([[0.1, 0.1], [0.5, 0.1], [0.1, 0.5]], np.float32)
    uvs = np.stack([one, one + np.float32(0.1), one + np.float32([0.5, 0])])
    np.testing.assert_array_equal(overlapping(uvs, 64), [True, False, False])
    assert not overlapping(uvs[1:], 64).any()


def test_faces_that_lie_on_others_are_moved_out(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = paired_islands(60, SIZE)
    folded = apart.copy()
    folded[[3, 10, 11]] = folded[[4, 12, 12]]
    monkeypatch.setattr(unwrapping, "_cut", lambda mesh, texture, time_limit: folded)
    result = charted(MESH, SIZE)
    assert counts(result, SIZE).max() == 1
    assert not np.array_equal(result, paired_islands(60, SIZE))
    shape = result[20] - result[20, 0]
    np.testing.assert_allclose(shape / shape.max(), (apart[20] - apart[20, 0]) / (apart[20] - apart[20, 0]).max())


def test_more_overlaps_than_can_be_moved_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwrapping, "_cut", lambda mesh, texture, time_limit: uvs_of_one_place(len(mesh.triangles)))
    layout = unwrap(MESH, SIZE)
    assert layout.note is not None
    assert layout.note.startswith("unwrapping laid too many faces on others: the texture is in many small islands")
    np.testing.assert_array_equal(layout.uvs, paired_islands(len(MESH.triangles), SIZE))


def uvs_of_one_place(faces: int) -> Float32[np.ndarray, "{faces} 3 2"]:
    return np.tile(np.array([[0, 0], [0.05, 0], [0, 0.05]], np.float32), (faces, 1, 1))


Instead = Callable[[str], None]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Instead:
    """Runs another program than `charts`."""

    def instead(code: str) -> None:
        path = tmp_path / "instead.py"
        path.write_text(code)
        monkeypatch.setattr(charts, "__file__", str(path))

    return instead


def test_a_slow_unwrap_is_given_up_and_told(instead: Instead, caplog: pytest.LogCaptureFixture) -> None:
    instead("import time\ntime.sleep(600)\n")
    layout = unwrap(MESH, SIZE, time_limit=1)
    assert "took more than 1 s" in caplog.text
    assert layout.note == (
        "unwrapping took more than 1 s: the texture is in many small islands; ask for fewer faces, or generate it again"
    )
    np.testing.assert_array_equal(layout.uvs, paired_islands(len(MESH.triangles), SIZE))


def test_a_crash_of_xatlas_is_survived_and_told(instead: Instead, caplog: pytest.LogCaptureFixture) -> None:
    instead("import os, signal\nos.write(2, b'about to\\ncrash\\n')\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    layout = unwrap(MESH, SIZE)
    assert "SIGSEGV" in caplog.text
    assert "about to / crash" in caplog.text
    assert layout.note is not None
    assert layout.note.startswith("unwrapping failed: the texture is in many small islands")
    np.testing.assert_array_equal(layout.uvs, paired_islands(len(MESH.triangles), SIZE))


def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UnwrapError, match=r"unwrapping failed .*/nowhere/python"):
        charted(MESH, SIZE)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_unwrapping_needs_nothing_of_the_environment(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    assert unwrap(MESH, SIZE).note is None


_TALKATIVE = """
import ctypes, runpy, xatlas
class Atlas(xatlas.Atlas):
    def generate(self, *options):
        ctypes.CDLL(None).printf(b"a word of C's\\n")
        print("a word of Python's")
        super().generate(*options)
xatlas.Atlas = Atlas
runpy.run_path({charts!r}, run_name="__main__")
"""


def test_what_xatlas_prints_goes_to_the_log(
    uvs: Float32[np.ndarray, "F 3 2"], instead: Instead, caplog: pytest.LogCaptureFixture
) -> None:
    instead(_TALKATIVE.format(charts=charts.__file__))
    with caplog.at_level(logging.INFO):
        found = charted(MESH, SIZE)
    assert "a word of C's" in caplog.text
    assert "a word of Python's" in caplog.text
    np.testing.assert_array_equal(found, uvs)


_NEVER_DONE = """
import runpy, time, xatlas
class Atlas(xatlas.Atlas):
    def __del__(self):
        time.sleep(600)
xatlas.Atlas = Atlas
runpy.run_path({charts!r}, run_name="__main__")
"""


def test_an_atlas_whose_threads_do_not_end_holds_nothing_up(
    uvs: Float32[np.ndarray, "F 3 2"], instead: Instead
) -> None:
    instead(_NEVER_DONE.format(charts=charts.__file__))
    np.testing.assert_array_equal(charted(MESH, SIZE), uvs)


def test_the_child_imports_nothing_heavy() -> None:
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print('torch' in sys.modules, 'backend' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code, charts.__file__], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
