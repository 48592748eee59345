import math
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from backend.engine.cameras import CameraDistribution
from backend.errors import UserError
from backend.prior import pool
from backend.prior.catalogue import Entry
from backend.prior.layers import cast
from backend.prior.pool import RIG, PictureSource

from .conftest import Taken


def test_all_pictures_are_those_of_their_objects(taken: Taken) -> None:
    loaded = pool.load(taken.pictures)
    assert loaded.entries == tuple(source.entry for source in taken.sources)
    assert loaded.layers.shape == (3 * 2 * RIG, 7, 32, 32)
    assert loaded.entry.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    second = (loaded.entry == 1).nonzero()[:, 0]
    cameras = type(loaded.cameras)(*(column[second] for column in loaded.cameras.columns))
    expected = cast(taken.sources[1].surface(), cameras, 32).packed()
    assert (expected.int() - loaded.layers[second].int()).abs().max() <= 1
    torch.testing.assert_close(loaded.pictures(second).coverage, loaded.layers[second, 3].float() / 255)


def test_views_come_in_rigs_that_go_around_the_object(taken: Taken) -> None:
    azimuth = pool.load(taken.pictures).cameras.azimuth.reshape(-1, RIG)
    turns = torch.remainder(torch.diff(azimuth, dim=1), 2 * math.pi) / (math.pi / 2)
    assert turns.min() >= 0.6
    assert turns.max() <= 1.4


def test_cameras_are_drawn_for_each_object_by_its_name(taken: Taken) -> None:
    # Runs go on with pictures that were taken before: these numbers may never change.
    first = pool.load(taken.pictures).cameras
    generator = torch.Generator().manual_seed(zlib.crc32(b"01-red-box.glb"))
    again = CameraDistribution().rigs(2, RIG, generator)
    for column, expected in zip(first.columns, again.columns, strict=True):
        torch.testing.assert_close(column[:8], expected, atol=0, rtol=0)
    assert not torch.equal(first.azimuth[:8], first.azimuth[8:16])


def test_after_an_object_that_cannot_be_read_only_what_lacks_is_made(
    taken: Taken, tmp_path: Path, counted: Callable[[], int]
) -> None:
    shutil.copytree(taken.pictures, tmp_path, dirs_exist_ok=True)
    lost = tmp_path / "02-Ball.glb.views.safetensors"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    lost.unlink()
    (tmp_path / "03-post.glb.views.safetensors.partial").write_bytes(b"half")  # as a kill leaves it
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"no glTF")
    with pytest.raises(UserError, match=r"broken\.glb cannot be read"):
        pool.make(tmp_path, [*taken.sources, PictureSource(Entry("broken.glb", "broken"), broken)], 2, 32, seed=0)
    assert counted() == 2
    for name, (data, changed) in before.items():
        assert (tmp_path / name).read_bytes() == data
        assert ((tmp_path / name).stat().st_mtime_ns == changed) == (name != lost.name)
    pool.make(tmp_path, taken.sources, rigs=2, size=32, seed=0)
    assert counted() == 2
    assert len(pool.load(tmp_path).entries) == 3


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many objects a progress bar was shown for."""
    totals = []

    def bar(results: object, total: int, **_: object) -> object:
        totals.append(total)
        return results

    monkeypatch.setattr(pool, "tqdm", bar)
    return lambda: sum(totals)


def test_a_pool_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures"):
        pool.load(tmp_path)


def test_a_damaged_file_of_pictures_is_named_with_the_remedy(taken: Taken, tmp_path: Path) -> None:
    shutil.copytree(taken.pictures, tmp_path, dirs_exist_ok=True)
    damaged = tmp_path / "02-Ball.glb.views.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"02-Ball\.glb.* is damaged .*remove it"):
        pool.load(tmp_path)


def test_solids_are_a_second_source(taken: Taken) -> None:
    both = pool.sources(taken.objects)
    assert [source.entry.noun for source in both[:3]] == ["red box", "ball", "post"]
    assert both[:3] == pool.sources(taken.objects, with_solids=False)
    assert {source.content for source in both[3:]} == {None}
    assert {"sphere", "mug"} <= {source.entry.noun for source in both[3:]}
    assert len(both[3].surface().mesh.triangles) > 1000


TAKE = """
import sys
from pathlib import Path
from backend.prior import pool
if __name__ == "__main__":
    entries = [pool.PictureSource(entry) for entry in pool.solids.entries(1000, 0)]
    pool.make(Path(sys.argv[1]), entries, rigs=1, size=16, seed=0)
"""


def test_a_killed_run_leaves_no_workers_and_whole_files(tmp_path: Path) -> None:
    process = psutil.Popen([sys.executable, "-c", TAKE, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*.views.safetensors")):
        assert time.monotonic() < deadline, "no pictures within five minutes"
        assert process.poll() is None
        time.sleep(0.1)
    workers = process.children(recursive=True)
    assert workers
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert alive == []
    assert len(pool.load(tmp_path).entries) >= 1
