"""What comes of an artist's picture, the whole way on a small budget."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backend.engine.reference import Reference
from backend.mesh import raycast
from backend.mesh.asset import MeshSettings
from backend.mesh.glb import read_glb
from backend.pipeline import meshing
from backend.pipeline.generate import generate
from backend.pipeline.results import MESH
from tests.pipeline.small_jobs import interrupting, small_job, stopped

pytestmark = pytest.mark.usefixtures("small_pictures")

SIDE = 256
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    """A disc in waves of blue and yellow, finer than any field of so few steps."""
    blue = 127.5 + 127.5 * np.sin(COLUMNS / 2.5)
    disc = 255 * (np.hypot(ROWS - 128, COLUMNS - 128) < 100)
    path = tmp_path / "waves.png"
    Image.fromarray(np.stack([255 - blue, 255 - blue, blue, disc], axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("paint", [False, True])
def test_the_front_keeps_to_the_picture_finer_than_the_field_could(
    waves: Path, tmp_path: Path, paint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[Reference] = []
    build = meshing.build
    monkeypatch.setattr(meshing, "build", lambda *of: pictures.append(of[-1]) or build(*of))
    job = replace(small_job(start=waves, paint=paint), mesh=MeshSettings(resolution=48, faces=800, texture=512))
    if job.painting:
        job = replace(job, painting=replace(job.painting, steps=2))
    generate(job, tmp_path / "out", resume=False)
    (wanted,), (made, _) = pictures, read_glb(tmp_path / "out" / MESH)
    shown = raycast.render(made, wanted.camera, len(wanted.opacity))
    assert wanted.colour is not None
    both = (shown.opacity[0] > 0.99) & (wanted.opacity > 0.99)
    assert both.sum() > 0.8 * (wanted.opacity > 0.99).sum()
    error = (shown.colour[0] - wanted.colour)[:, both].square().mean()
    assert -10 * torch.log10(error) > 15  # the mean colour alone would be 9


@pytest.mark.usefixtures("every_step")
def test_a_run_resumes_to_the_same_bytes_before_the_picture_has_a_say_after_that_and_after_all_steps(
    waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, outs = small_job(start=waves, steps=6), [tmp_path / name for name in ("whole", "before", "after", "end")]
    whole, before, after, end = outs
    generate(job, whole, resume=False)
    for out, at in ((before, 1), (after, 3)):
        stopped(out, at=at, start=waves, steps=6)
        generate(job, out, resume=True)
    with monkeypatch.context() as patched:
        patched.setattr(meshing, "build", interrupting)
        with pytest.raises(KeyboardInterrupt):
            generate(job, end, resume=False)
    generate(job, end, resume=True)
    assert len({(out / MESH).read_bytes() for out in outs}) == 1
