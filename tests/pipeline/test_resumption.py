"""Runs that were killed or stopped go on to the same bytes, or are refused by name."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.errors import OtherRunError, UserError
from backend.pipeline import meshing
from backend.pipeline.generate import generate
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.results import MESH
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Status
from tests.pipeline.small_jobs import PROMPT, SMALL, STEPS, interrupting, shape_of, small_job, stopped

pytestmark = pytest.mark.usefixtures("small_pictures")  # but for `made`, which is there before

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


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("field", ["hashgrid", "sdf"])
def test_a_field_resumes_from_its_last_step(field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = small_job(field=field, steps=3)
    grids: list[torch.Tensor] = []

    def remember(field: Any, *_: Any) -> None:
        grids.append(field.density(torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.0, -0.2]])).detach())
        raise KeyboardInterrupt

    monkeypatch.setattr(meshing, "build", remember)
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            generate(job, tmp_path, resume)
    assert torch.equal(grids[0], grids[1])
