"""What generate says before it begins, and what it keeps for the next time."""

from pathlib import Path

import pytest

from backend import machine
from backend.benches import random_models
from backend.cli import main
from backend.commands import generate as command
from backend.pipeline import speeds
from backend.pipeline.job import Job
from backend.pipeline.results import Report
from backend.pipeline.stages import Listener

DEVICE = machine.named("cpu")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Those that were carried out, each step in a quarter of a second; nothing is computed."""
    made: list[Job] = []

    def carry_out(job: Job, out: Path, resume: bool, listen: Listener) -> Report:
        made.append(job)
        nothing: dict[str, float] = {}
        seconds = {"optimising": 0.25}
        return Report({"paint_only": False}, nothing, seconds, 1, {}, {}, [], 1, True, 1, 0, 30.0, 1.0, 1, None)

    monkeypatch.setattr(command, "carry_out", carry_out)
    return made


def said(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert main(["generate", "a red mug", "--device", "cpu", *options]) == 0
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("about ")]


@pytest.mark.usefixtures("jobs")
def test_what_steps_took_before_says_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys) == []  # nobody knows yet
    assert said(capsys, "--steps", "400") == [f"about 2 min on {DEVICE}"]  # 400 quarters of a second, and 9 s
    assert said(capsys, "--steps", "40") == [f"about 19 s on {DEVICE}"]
    assert said(capsys, "--preset", "draft") == []
    assert said(capsys, "--field", "sdf") == []
    assert said(capsys, "--resume") == []


@pytest.mark.usefixtures("jobs")
def test_what_is_not_usual_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "--field", "sdf")
    said(capsys, "--rule", "csd")
    assert speeds.known(DEVICE) == {}


def test_a_large_model_is_counted_before_it_has_run(
    jobs: list[Job], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = random_models.small("sd1", latents=8)
    folder = random_models.save_folder(tmp_path / "sd1", "sd1", small, "epsilon")
    monkeypatch.setattr(command, "flops_per_second", lambda device, precision: 1e9)
    (line,) = said(capsys, "--guidance", str(folder), "--preset", "draft")
    assert line.endswith(f" on {DEVICE}")
    monkeypatch.setattr(command, "flops_per_second", lambda device, precision: 1e30)
    assert said(capsys, "--guidance", str(folder), "--preset", "high") == [f"about 20 s on {DEVICE}"]
    # Once it has run, that counts.
    assert said(capsys, "--guidance", str(folder), "--preset", "draft") == [f"about 4 min on {DEVICE}"]
    assert said(capsys, "--guidance", str(folder), "--preset", "draft", "--rule", "vsd") == []
    assert len(jobs) == 4
