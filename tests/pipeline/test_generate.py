"""The whole way on small budgets: files, and trouble with folders, disks and empty fields."""

import errno
import gc
import json
import os
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from backend import checkpoints
from backend.engine.fields import Blob, VoxelField
from backend.errors import UserError
from backend.guidance.diffusion import DiffusionGuidance
from backend.mesh.fidelity import topology
from backend.mesh.glb import read_glb
from backend.pipeline import generate as generating
from backend.pipeline import results
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.generate import PARTS, generate
from backend.pipeline.job import Job, planned
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.request import Request
from backend.pipeline.results import MESH, PREVIEW, REPORT, TURNTABLE
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Status, Work
from backend.prior import model as prior
from backend.prior import network
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from backend.prior.network import Architecture
from tests.pipeline.small_jobs import PROMPT, SMALL, STEPS, shape_of, small_job

pytestmark = pytest.mark.usefixtures("small_pictures")  # but for `made`, which is there before


def test_the_folder_holds_the_four_files_and_nothing_else(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted([MESH, PREVIEW, TURNTABLE, REPORT])
    with Image.open(made / PREVIEW) as preview, Image.open(made / TURNTABLE) as turntable:
        assert preview.size == (1024, 512)
        assert getattr(turntable, "n_frames", 1) >= 24


def test_the_report_tells_what_was_done(made: Path) -> None:
    report = json.loads((made / REPORT).read_text())
    assert report["iterations"] == STEPS
    assert set(report["seconds"]) == set(PARTS)
    assert set(report["step_seconds"]) == {"optimising"}
    assert 0 < report["step_seconds"]["optimising"] < report["seconds"]["optimising"]
    assert set(report["losses"]) == {"guidance", "opacity", "entropy", "bending"}
    assert 0 < report["faces"] <= SMALL.faces
    assert report["watertight"] is True
    assert report["degenerate"] == 0
    assert report["recipe"]["prompt"] == PROMPT
    assert report["psnr"] > 10
    assert report["silhouette_iou"] > 0.8
    assert report["notes"] == []


def test_the_mesh_carries_its_recipe_and_is_clean(made: Path) -> None:
    asset, recipe = read_glb(made / MESH)
    assert recipe == json.loads((made / REPORT).read_text())["recipe"]
    assert topology(asset.mesh).watertight
    assert asset.texture.shape == (128, 128, 3)
    # Redder than anything else, even after so few steps.
    mean = asset.texture.reshape(-1, 3).mean(0)
    assert mean[0] > 1.5 * max(mean[1], mean[2])


def test_a_model_is_told_its_own_words_and_the_recipe_keeps_the_artists(tmp_path: Path) -> None:
    """One of the kind that `prior.train` makes: told of views, and with a lexicon beside it."""
    words = Lexicon.of([Entry("0", "mug", ("cup",), ("a blue mug",))])
    architecture = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)
    folder = tmp_path / "model"
    prior.save(network.build(64, words.words, architecture, seed=0), folder)
    words.save(folder)
    request = Request("Two red Mugs", preset="draft", guidance=str(folder), negative="Cups", steps=2, device="cpu")
    job, warnings = planned(request)
    assert warnings == []
    assert (job.optimisation.rig, job.view_mode, job.optimisation.steps) == (True, "off", 2)

    told: list[str] = []
    guidance = load_guidance(job)
    encode = guidance.encode
    guidance.encode = lambda prompts, *more: told.extend(prompts) or encode(prompts, *more)  # type: ignore[method-assign]
    asked(job, guidance)
    assert {"two red mug", "cup"} <= set(told)
    assert not any("Mugs" in text or "Cups" in text for text in told)

    generate(replace(job, mesh=SMALL), tmp_path / "out", resume=False)
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert (report["recipe"]["prompt"], report["recipe"]["negative"]) == ("Two red Mugs", "Cups")


def test_parts_are_announced_in_order(tmp_path: Path) -> None:
    heard: list[Status] = []
    generate(small_job(seed=1), tmp_path, resume=False, listen=heard.append)
    assert [status.part for status in heard if status.progress is None] == list(PARTS)
    assert [status.progress.step for status in heard if status.progress] == list(range(1, STEPS + 1))


def test_a_folder_that_cannot_be_written_is_refused_before_anything_else(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(UserError, match=r"cannot write into .*file.*; name another folder with --out"):
        generate(small_job(), taken, resume=False)
    assert taken.read_text() == ""


def test_a_full_disk_is_refused_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 5 * 2**20})
    monkeypatch.setattr(results.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="5 MiB left and 200 are needed; make room"):
        generate(small_job(), tmp_path, resume=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("every_step")
def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, full_from = checkpoints.save_file, 4
    calls = iter(range(1, 100))

    def filling(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if next(calls) >= full_from:
            raise SafetensorError(os.strerror(errno.ENOSPC))  # as safetensors says it
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", filling)
    with pytest.raises(UserError, match=r"No space left on device.*use --resume"):
        generate(small_job(), tmp_path, resume=False)
    found = checkpoints.newest(shape_of(tmp_path))
    assert found is not None
    assert found.step == full_from - 1


def test_the_report_tells_what_the_gpu_held_at_most(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads((made / REPORT).read_text())["peak_gpu_memory"] is None
    on_cpu = load_guidance(small_job())
    monkeypatch.setattr(generating, "load_guidance", lambda job: on_cpu)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(results, "peak_gpu_memory", lambda: 123)
    assert generate(replace(small_job(), device="cuda"), tmp_path, resume=False).peak_gpu_memory == 123


def test_the_text_encoder_is_gone_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[weakref.ref[Any]] = []

    def loaded(job: Job) -> DiffusionGuidance:
        guidance = load_guidance(job)
        models.append(weakref.ref(guidance._parts.text._model))
        return guidance

    def look(status: Status) -> None:
        if status.progress:
            gc.collect()
            assert models[0]() is None
            raise KeyboardInterrupt

    monkeypatch.setattr(generating, "load_guidance", loaded)
    with pytest.raises(KeyboardInterrupt):
        generate(small_job(), tmp_path, False, look)


def test_a_folder_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "checkpoints" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    hidden = tmp_path / CHECKPOINTS / "mine.txt"
    hidden.parent.mkdir()
    hidden.write_text("keep")
    generate(small_job(), tmp_path, resume=False)
    assert mine.read_text() == hidden.read_text() == "keep"


def test_an_empty_field_is_an_error_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = VoxelField(blob=Blob(centre=-40.0))
    monkeypatch.setattr(Shape, "carry_out", lambda *_: Work(field=nothing))
    with pytest.raises(UserError, match="try more steps, another seed"):
        generate(small_job(), tmp_path, resume=False)
    assert not (tmp_path / MESH).exists()
    assert np.all([not path.name.endswith(".partial") for path in tmp_path.rglob("*")])
