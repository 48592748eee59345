"""The whole way on small budgets: files, resumption after a real kill, and trouble with folders, disks and numbers."""

import errno
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.engine.fields import Blob, VoxelField
from backend.errors import NotFiniteError, OtherRunError, OutOfMemoryError, UserError
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.memory import needs
from backend.mesh.asset import MeshSettings
from backend.mesh.fidelity import topology
from backend.mesh.glb import read_glb
from backend.pipeline import generate as generating
from backend.pipeline import keeping, meshing, results, shape
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.generate import PARTS, generate
from backend.pipeline.job import Job, planned
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.remedies import Remedies
from backend.pipeline.request import Request
from backend.pipeline.results import MESH, PREVIEW, REPORT, TURNTABLE
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Status, Work
from backend.prior import model as prior
from backend.prior import network
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from backend.prior.network import Architecture

pytestmark = pytest.mark.usefixtures("small_pictures")  # but for `made`, which is there before

PROMPT = "a red mug"
STEPS = 24
SMALL = MeshSettings(resolution=48, faces=800, texture=128)


def small_job(**changes: Any) -> Job:
    job, _ = planned(Request(PROMPT, preset="draft", device="cpu", **{"steps": STEPS, **changes}))
    return replace(job, mesh=SMALL)


def shape_of(out: Path) -> Path:
    """The checkpoints of the stage that optimises."""
    return out / CHECKPOINTS / Shape.name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("made")
    generate(small_job(), out, resume=False)
    return out


def test_the_folder_holds_the_four_files_and_nothing_else(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted([MESH, PREVIEW, TURNTABLE, REPORT])
    with Image.open(made / PREVIEW) as preview, Image.open(made / TURNTABLE) as turntable:
        assert preview.size == (1024, 512)
        assert getattr(turntable, "n_frames", 1) >= 24


def test_the_report_tells_what_was_done(made: Path) -> None:
    report = json.loads((made / REPORT).read_text())
    assert report["iterations"] == STEPS
    assert set(report["seconds"]) == set(PARTS)
    assert set(report["losses"]) == {"guidance", "opacity", "entropy"}
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


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from backend import checkpoints
from backend.pipeline import generate, keeping
from backend.pipeline.job import planned
from backend.mesh.asset import MeshSettings
from backend.pipeline.request import Request
keeping.CHECKPOINT_SECONDS = 0
write, kept = checkpoints.write, []
def write_twice(*arguments):
    write(*arguments)
    kept.append(arguments)
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.write = write_twice
job, _ = planned(Request({prompt!r}, preset="draft", steps={steps}, rule={rule!r}, device="cpu"))
generate.generate(replace(job, mesh=MeshSettings(*{mesh!r})), Path(sys.argv[1]), resume=False)
"""


def killed(out: Path, steps: int = STEPS, rule: str = "sds") -> Checkpoint:
    """What is left of a run that was killed after two steps."""
    script = KILLED.format(prompt=PROMPT, steps=steps, rule=rule, mesh=(SMALL.resolution, SMALL.faces, SMALL.texture))
    done = subprocess.run([sys.executable, "-c", script, str(out)], stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    found = checkpoints.newest(shape_of(out))
    assert found is not None
    assert found.step == 2
    assert not (out / MESH).exists()
    return found


def test_a_killed_run_resumes_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    found = killed(tmp_path)
    steps: list[int] = []
    generate(small_job(), tmp_path, True, lambda status: steps.append(status.progress.step if status.progress else 0))
    assert min(step for step in steps if step) == found.step + 1
    assert (tmp_path / MESH).read_bytes() == (made / MESH).read_bytes()
    assert not (tmp_path / CHECKPOINTS).exists()


def test_a_killed_run_against_a_rival_resumes_to_the_same_field_and_rival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    found = killed(halves, steps=5, rule="vsd")
    assert any(name.startswith("rival.") and name.endswith(".exp_avg") for name in found.tensors)
    monkeypatch.setattr(meshing, "build", interrupting)
    ends = []
    for out in (whole, halves):
        with pytest.raises(KeyboardInterrupt):
            generate(small_job(steps=5, rule="vsd"), out, resume=out == halves)
        end = checkpoints.newest(shape_of(out))
        assert end is not None
        ends.append(end)
    assert ends[0].step == ends[1].step == 5
    assert ends[0].facts == ends[1].facts
    assert ends[0].facts["losses"]["rival"] > 0
    assert ends[0].tensors.keys() == ends[1].tensors.keys() == found.tensors.keys()
    assert all(torch.equal(tensor, ends[1].tensors[name]) for name, tensor in ends[0].tensors.items())


def stopped(out: Path, at: int, **changes: Any) -> None:
    """A run that is interrupted after `at` steps, with a checkpoint of each."""

    def stop(status: Status) -> None:
        if status.progress and status.progress.step > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(small_job(**changes), out, False, stop)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.usefixtures("every_step")
def test_resuming_with_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    with pytest.raises(UserError, match=r"other settings \(seed \(0, now 3\)\); repeat them, or leave out --resume"):
        generate(small_job(seed=3), tmp_path, resume=True)
    found = checkpoints.newest(shape_of(tmp_path))
    assert found is not None
    assert found.step == 2


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("lacking", ["rule", "rig", "joint_views"])
def test_a_run_that_knew_less_than_this_version_is_refused(tmp_path: Path, lacking: str) -> None:
    stopped(tmp_path, at=2)
    found = checkpoints.newest(shape_of(tmp_path))
    assert found is not None
    del found.facts["recipe"]["optimisation"][lacking]
    found.facts["remedies"] = {"calmed": True, "views_at_once": None}
    checkpoints.write(shape_of(tmp_path), found)
    with pytest.raises(OtherRunError, match="other versions of the program; leave out --resume") as raised:
        generate(small_job(), tmp_path, resume=True)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("every_step")
def test_a_run_of_a_version_without_stages_is_refused_or_begun_anew(tmp_path: Path) -> None:
    stopped(tmp_path, at=2)
    for kept in shape_of(tmp_path).iterdir():  # as they lay when a job had one stage
        kept.rename(tmp_path / CHECKPOINTS / kept.name)
    shape_of(tmp_path).rmdir()
    with pytest.raises(OtherRunError, match="other versions of the program; leave out --resume"):
        generate(small_job(), tmp_path, resume=True)
    stopped(tmp_path, at=1)
    assert [path.name for path in (tmp_path / CHECKPOINTS).iterdir()] == [Shape.name]


@pytest.mark.usefixtures("every_step")
def test_a_run_without_resume_starts_anew(tmp_path: Path) -> None:
    stopped(tmp_path, at=4)
    steps: list[int] = []

    def listen(status: Status) -> None:
        if status.progress:
            steps.append(status.progress.step)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(small_job(), tmp_path, False, listen)
    assert steps == [1]


def test_resuming_without_a_checkpoint_begins_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stop(status: Status) -> None:
        if status.progress:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(small_job(), tmp_path, True, stop)
    assert "no checkpoint" in caplog.text


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


def spoilt(calls: Sequence[int]) -> Callable[..., Tensor]:
    """The model's call, infinite in one view in some of the calls."""
    call, count = DiffusionGuidance._outputs, itertools.count()

    def outputs(guidance: DiffusionGuidance, *asked: Any) -> Tensor:
        found = call(guidance, *asked)
        if next(count) in calls:
            found[:, 1] = torch.inf
        return found

    return outputs


@pytest.mark.usefixtures("every_step")
def test_views_that_are_not_finite_are_left_out_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt([2, 3, 9]))
    with monkeypatch.context() as patched:
        patched.setattr(meshing, "build", interrupting)
        with pytest.raises(KeyboardInterrupt):
            generate(small_job(), tmp_path, resume=False)
    report = generate(small_job(), tmp_path, resume=True)  # of which no step is left
    assert report.remedies == {"views_at_once": None, "left_out": 3}
    assert set(report.losses) == {"guidance", "opacity", "entropy"}
    assert Remedies(**report.remedies).notes() == ["views left out because their numbers were not finite: 3"]


def interrupting(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("every_step")
def test_views_left_out_before_an_interruption_are_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt([2]))
    stopped(tmp_path, at=5)
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt([]))
    assert generate(small_job(), tmp_path, resume=True).remedies["left_out"] == 1


def hungry(most: int) -> Callable[..., Tensor]:
    """The model's call on a device whose memory holds `most` views."""
    call = DiffusionGuidance._outputs

    def outputs(guidance: DiffusionGuidance, noisy: Tensor, *asked: Any) -> Tensor:
        if len(noisy) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return call(guidance, noisy, *asked)

    return outputs


@pytest.mark.usefixtures("every_step")
def test_where_memory_runs_out_the_model_sees_fewer_views_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = small_job()
    assert job.optimisation.views == 4
    monkeypatch.setattr(DiffusionGuidance, "_outputs", hungry(1))
    report = generate(job, tmp_path, resume=False)
    assert report.remedies == {"views_at_once": 1, "left_out": 0}
    assert [line.args for line in caplog.records if "memory ran out" in line.message] == [(2,), (1,)]
    assert "saw views 1 at a time" in report.notes[0]


@pytest.mark.usefixtures("every_step")
def test_a_run_with_little_memory_stays_lean_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    call = DiffusionGuidance._outputs

    def outputs(guidance: DiffusionGuidance, noisy: Tensor, *asked: Any) -> Tensor:
        shown.append(len(noisy))
        if len(shown) == 4:  # in the fourth step
            raise torch.OutOfMemoryError("CUDA out of memory")
        if len(shown) == 7:
            raise KeyboardInterrupt
        return call(guidance, noisy, *asked)

    monkeypatch.setattr(DiffusionGuidance, "_outputs", outputs)
    with pytest.raises(KeyboardInterrupt):
        generate(small_job(), tmp_path, resume=False)
    assert shown == [4, 4, 4, 4, 2, 2, 2]
    del shown[:]
    monkeypatch.setattr(DiffusionGuidance, "_outputs", lambda *asked: shown.append(len(asked[1])) or call(*asked))
    report = generate(small_job(), tmp_path, resume=True)
    assert report.remedies["views_at_once"] == 2
    assert set(shown) == {2}


@pytest.mark.usefixtures("every_step")
def test_where_memory_runs_out_while_a_rival_learns_it_goes_on_from_the_last_checkpoint_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    call = DiffusionGuidance._outputs

    def outputs(guidance: DiffusionGuidance, noisy: Tensor, *asked: Any) -> Tensor:
        shown.append(len(noisy))
        if len(shown) == 6:  # in the second step, after both predictions
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(guidance, noisy, *asked)

    monkeypatch.setattr(DiffusionGuidance, "_outputs", outputs)
    monkeypatch.setattr(meshing, "build", interrupting)
    with pytest.raises(KeyboardInterrupt):
        generate(small_job(steps=3, rule="vsd"), tmp_path, resume=False)
    assert shown == [4] * 6 + [2] * 12
    found = checkpoints.newest(shape_of(tmp_path))
    assert found is not None
    assert found.facts["remedies"]["views_at_once"] == 2
    lessons = {
        tensor.item() for name, tensor in found.tensors.items() if name.startswith("rival.") and name.endswith(".step")
    }
    assert lessons == {3}


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


@pytest.mark.usefixtures("every_step")
def test_the_free_memory_is_asked_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needed = needs("voxel", 32, 2 / 32, *load_guidance(small_job()).view_bytes(2))
    monkeypatch.setattr(shape, "free_memory", lambda device: int(1.2 * needed.of(2, 1)))
    shown: list[int] = []
    call = DiffusionGuidance._outputs
    monkeypatch.setattr(DiffusionGuidance, "_outputs", lambda *asked: shown.append(len(asked[1])) or call(*asked))
    stopped(tmp_path, at=3)
    assert set(shown) == {2}
    assert "MiB of memory are free: taking views 2 at a time" in caplog.text
    # What was planned for a run holds for all of it, as its numbers depend on it in the last digits.
    monkeypatch.setattr(shape, "free_memory", lambda device: 2**60)
    report = generate(small_job(), tmp_path, resume=True)
    assert report.remedies == {"views_at_once": 2, "left_out": 0}
    assert set(shown) == {2}
    assert "saw views 2 at a time" in report.notes[0]


@pytest.mark.usefixtures("every_step")
def test_where_memory_runs_out_all_the_same_there_is_still_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = needs("voxel", 32, 2 / 32, *load_guidance(small_job()).view_bytes(2))
    monkeypatch.setattr(shape, "free_memory", lambda device: int(1.2 * needed.of(2, 1)))
    monkeypatch.setattr(DiffusionGuidance, "_outputs", hungry(1))
    stopped(tmp_path, at=2)
    kept = checkpoints.newest(shape_of(tmp_path))
    assert kept is not None
    assert kept.facts["remedies"]["views_at_once"] == 1


def test_where_one_view_is_too_much_the_job_ends_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", hungry(0))
    with pytest.raises(OutOfMemoryError, match="the GPU has too little memory for this job; close other programs"):
        generate(small_job(), tmp_path, resume=False)
    assert not (tmp_path / MESH).exists()


def test_a_folder_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "checkpoints" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    hidden = tmp_path / CHECKPOINTS / "mine.txt"
    hidden.parent.mkdir()
    hidden.write_text("keep")
    generate(small_job(), tmp_path, resume=False)
    assert mine.read_text() == hidden.read_text() == "keep"


@pytest.mark.usefixtures("every_step")
def test_a_hash_grid_resumes_from_its_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(
        small_job(field="hashgrid"), optimisation=replace(small_job().optimisation, steps=3, learning_rate=0.01)
    )
    grids: list[torch.Tensor] = []

    def remember(field: Any, *_: Any) -> None:
        grids.append(field.density(torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.0, -0.2]])).detach())
        raise KeyboardInterrupt

    monkeypatch.setattr(meshing, "build", remember)
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            generate(job, tmp_path, resume)
    assert torch.equal(grids[0], grids[1])


def test_numbers_that_are_never_finite_end_a_job_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt(range(100)))
    with pytest.raises(NotFiniteError, match=r"the guidance is not finite at step 19, .*; try another seed"):
        generate(small_job(), tmp_path, resume=False)
    assert not (tmp_path / MESH).exists()


def test_an_empty_field_is_an_error_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = VoxelField(blob=Blob(centre=-40.0))
    monkeypatch.setattr(Shape, "carry_out", lambda *_: Work(field=nothing))
    with pytest.raises(UserError, match="try more steps, another seed"):
        generate(small_job(), tmp_path, resume=False)
    assert not (tmp_path / MESH).exists()
    assert np.all([not path.name.endswith(".partial") for path in tmp_path.rglob("*")])
