"""What becomes of a job when memory runs out or its numbers are not finite."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import checkpoints
from backend.errors import NotFiniteError, OutOfMemoryError
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.memory import Needs, needs
from backend.pipeline import meshing, shape
from backend.pipeline.asking import load_guidance
from backend.pipeline.generate import generate
from backend.pipeline.job import Job
from backend.pipeline.remedies import Remedies
from backend.pipeline.results import MESH
from tests.pipeline.small_jobs import interrupting, shape_of, small_job, stopped

pytestmark = pytest.mark.usefixtures("small_pictures")


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
    assert set(report.losses) == {"guidance", "opacity", "entropy", "bending"}
    assert Remedies(**report.remedies).notes() == ["views left out because their numbers were not finite: 3"]


@pytest.mark.usefixtures("every_step")
def test_views_left_out_before_an_interruption_are_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt([2]))
    stopped(tmp_path, at=5)
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt([]))
    assert generate(small_job(), tmp_path, resume=True).remedies["left_out"] == 1


def test_numbers_that_are_never_finite_end_a_job_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", spoilt(range(100)))
    with pytest.raises(NotFiniteError, match=r"the guidance is not finite at step 19, .*; try another seed"):
        generate(small_job(), tmp_path, resume=False)
    assert not (tmp_path / MESH).exists()


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
    job = small_job(apart=True)
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
        generate(small_job(apart=True), tmp_path, resume=False)
    assert shown == [4, 4, 4, 4, 2, 2, 2]
    del shown[:]
    monkeypatch.setattr(DiffusionGuidance, "_outputs", lambda *asked: shown.append(len(asked[1])) or call(*asked))
    report = generate(small_job(apart=True), tmp_path, resume=True)
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
        generate(small_job(apart=True, steps=3, rule="vsd"), tmp_path, resume=False)
    assert shown == [4] * 6 + [2] * 12
    found = checkpoints.newest(shape_of(tmp_path))
    assert found is not None
    assert found.facts["remedies"]["views_at_once"] == 2
    lessons = {
        tensor.item() for name, tensor in found.tensors.items() if name.startswith("rival.") and name.endswith(".step")
    }
    assert lessons == {3}


def needed_by(job: Job) -> Needs:
    guidance = load_guidance(job)
    return needs(job.field, *job.optimisation.finest(guidance.size), *guidance.view_bytes(2))


@pytest.mark.usefixtures("every_step")
def test_the_free_memory_is_asked_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needed = needed_by(small_job(apart=True))
    monkeypatch.setattr(shape, "free_memory", lambda device: int(1.2 * needed.of(2, 1)))
    shown: list[int] = []
    call = DiffusionGuidance._outputs
    monkeypatch.setattr(DiffusionGuidance, "_outputs", lambda *asked: shown.append(len(asked[1])) or call(*asked))
    stopped(tmp_path, at=3, apart=True)
    assert set(shown) == {2}
    assert "MiB of memory are free: taking views 2 at a time" in caplog.text
    # What was planned for a run holds for all of it, as its numbers depend on it in the last digits.
    monkeypatch.setattr(shape, "free_memory", lambda device: 2**60)
    report = generate(small_job(apart=True), tmp_path, resume=True)
    assert report.remedies == {"views_at_once": 2, "left_out": 0}
    assert set(shown) == {2}
    assert "saw views 2 at a time" in report.notes[0]


@pytest.mark.usefixtures("every_step")
def test_where_memory_runs_out_all_the_same_there_is_still_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = needed_by(small_job(apart=True))
    monkeypatch.setattr(shape, "free_memory", lambda device: int(1.2 * needed.of(2, 1)))
    monkeypatch.setattr(DiffusionGuidance, "_outputs", hungry(1))
    stopped(tmp_path, at=2, apart=True)
    kept = checkpoints.newest(shape_of(tmp_path))
    assert kept is not None
    assert kept.facts["remedies"]["views_at_once"] == 1


def test_where_one_view_is_too_much_the_job_ends_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiffusionGuidance, "_outputs", hungry(0))
    with pytest.raises(OutOfMemoryError, match="the GPU has too little memory for this job; close other programs"):
        generate(small_job(), tmp_path, resume=False)
    assert not (tmp_path / MESH).exists()
