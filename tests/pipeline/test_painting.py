"""An artist's mesh is painted, the whole way on a small budget: what changes, what stays, and stops on the way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend import checkpoints
from backend.errors import OtherRunError
from backend.mesh.asset import Asset, MeshSettings
from backend.mesh.glb import read_glb
from backend.pipeline.generate import generate, parts_of
from backend.pipeline.given import read
from backend.pipeline.job import Job, planned
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.pipeline.stages import Status
from tests.pipeline.small_jobs import PROMPT, SMALL, small_job
from tests.pipeline.things import TEXELS, box, picture, save

pytestmark = pytest.mark.usefixtures("small_pictures")

STEPS = 4


def painting(start: Path, **changes: Any) -> Job:
    asked = {"start": start, "paint_only": True, "steps": STEPS, **changes}
    job, _ = planned(Request(PROMPT, preset="draft", device="cpu", **asked))
    return replace(job, mesh=MeshSettings(texture=128))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("mesh") / "box.glb")


@pytest.fixture(scope="module")
def made(mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("painted")
    generate(painting(mesh), out, resume=False)
    return out


def corners(asset: Asset) -> tuple[np.ndarray, np.ndarray]:
    return asset.mesh.vertices[asset.mesh.triangles], asset.uvs


def test_only_the_colours_of_an_artists_mesh_change(mesh: Path, made: Path) -> None:
    before, (after, recipe) = read(mesh), read_glb(made / MESH)
    assert before.uvs is not None
    places, uvs = corners(after)
    assert np.array_equal(places, before.mesh.vertices[before.mesh.triangles])
    assert np.array_equal(uvs, before.uvs)
    np.testing.assert_allclose(after.normals, before.normals, atol=1e-6)
    assert after.texture.shape == (128, 128, 3)
    assert recipe["paint_only"] is True


def test_the_parts_of_the_job_are_announced_in_order(mesh: Path, tmp_path: Path) -> None:
    heard: list[Status] = []
    job = painting(mesh)
    report = generate(job, tmp_path, False, heard.append)
    assert [status.part for status in heard if status.progress is None] == list(parts_of(job))
    assert set(report.seconds) == set(parts_of(job)) == {"loading", "unwrapping", "painting", "colouring", "writing"}
    assert [status.progress.step for status in heard if status.progress] == list(range(1, STEPS + 1))
    assert (report.iterations, report.faces, report.silhouette_iou) == (STEPS, 12, pytest.approx(1, abs=0.01))
    assert report.psnr > 10  # a texture of noise, seen in few pixels
    shown = next(status.shown for status in heard if status.shown)()
    assert shown.density(torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.9, 0.0]])).tolist() == [0.0, 0.0]


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("stop", [1, STEPS])
def test_painting_that_was_stopped_ends_in_the_same_bytes(mesh: Path, made: Path, tmp_path: Path, stop: int) -> None:
    def interrupt(status: Status) -> None:
        if status.part == "colouring" or (status.progress and status.progress.step > stop):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(painting(mesh), tmp_path, False, interrupt)
    kept = checkpoints.newest(tmp_path / CHECKPOINTS / "paint")
    assert kept is not None
    assert kept.step == stop
    generate(painting(mesh), tmp_path, resume=True)
    assert (tmp_path / MESH).read_bytes() == (made / MESH).read_bytes()


@pytest.mark.usefixtures("every_step")
def test_painting_is_not_gone_on_with_on_another_mesh(mesh: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        if status.progress and status.progress.step > 1:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        generate(painting(mesh), out, False, interrupt)
    other = save(tmp_path / "other.glb", vertices=box()[0] * 2)
    with pytest.raises(OtherRunError, match=r"other settings \(start \(mesh sha256:\w+, now mesh sha256:\w+\)\)"):
        generate(painting(other), out, resume=True)
    with pytest.raises(OtherRunError, match=r"other settings \(.*paint_only \(True, now False\)"):
        generate(small_job(steps=STEPS), out, resume=True)


def test_only_the_marked_triangles_change(mesh: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.txt"
    mask.write_text("0 1")
    generate(painting(mesh, mask=mask), tmp_path / "out", resume=False)
    after, _ = read_glb(tmp_path / "out" / MESH)
    changed = (after.texture != np.asarray(picture())).any(-1)
    side = np.zeros((TEXELS, TEXELS), bool)
    side[TEXELS // 2 :, : TEXELS // 3 + 1] = True  # of the atlas, to which the first two triangles belong
    assert changed[side].mean() > 0.5
    assert not changed[~side].any()


def test_a_mesh_without_texture_coordinates_gets_some_and_colours(tmp_path: Path) -> None:
    start = save(tmp_path / "bare.glb", textured=False)
    report = generate(painting(start), tmp_path / "out", resume=False)
    assert report.notes == []
    before, (after, _) = read(start), read_glb(tmp_path / "out" / MESH)
    assert np.array_equal(corners(after)[0], before.mesh.vertices[before.mesh.triangles])
    assert (after.texture != 128).any()


def test_a_shape_can_be_painted_in_the_end(tmp_path: Path) -> None:
    job = small_job(paint=True, steps=STEPS)
    assert job.painting is not None
    job = replace(job, mesh=SMALL, painting=replace(job.painting, steps=2))
    heard: list[str] = []
    report = generate(job, tmp_path, False, lambda status: heard.append(status.part) if not status.progress else None)
    assert heard == list(parts_of(job))
    assert heard[-3:] == ["painting", "colouring", "writing"]
    assert (report.seconds.keys(), report.silhouette_iou > 0.8) == (set(parts_of(job)), True)
