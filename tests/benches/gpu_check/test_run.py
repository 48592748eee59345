"""The parts stand alone, and the time is kept, whatever the process that measures does."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from backend.benches.gpu_check import run
from backend.benches.gpu_check.parts import MEASURES
from backend.benches.gpu_check.report import Part, Report
from backend.cli import main

CHILD = """
import json, os, sys, time

def tell(**said):
    print(json.dumps(said), flush=True)

tell(machine="a machine")
for name in sys.argv[sys.argv.index("--folder") + 2:]:
    tell(begun=name)
    tell(measured={"name": "half of " + name, "figures": [{"value": 1, "what": "it/s"}]})
    if name == "bad":
        tell(failed="RuntimeError: no surface")
        sys.exit(1)
    if name == "staying":
        tell(failed="RuntimeError: no surface")
        time.sleep(3600)
    if name == "dead":
        print("RuntimeError: CUDA error: an illegal memory access\\n", file=sys.stderr)
        os._exit(3)
    if name == "silent":
        os._exit(3)
    if name == "endless":
        time.sleep(3600)
    tell(done=1.0)
"""


def checked(tmp_path: Path, names: Sequence[str], budget: float = 600.0, **limits: float) -> Report:
    """limits: seconds of some of the parts, which others have more of than they ever need."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    told: list[Part] = []
    all_limits = dict.fromkeys(names, 600.0) | limits
    report = run.carried_out(names, False, budget, told.append, (sys.executable, str(child)), all_limits)
    assert tuple(told) == report.parts
    assert [part.name for part in report.parts] == list(names)
    return report


def test_a_part_that_fails_says_why_and_the_rest_goes_on(tmp_path: Path) -> None:
    report = checked(tmp_path, ["good", "bad", "dead", "silent", "fine"])
    assert [part.state for part in report.parts] == ["done", "failed", "failed", "failed", "done"]
    assert [part.line for part in report.parts] == [
        "",
        "RuntimeError: no surface",
        "RuntimeError: CUDA error: an illegal memory access",
        "its process ended without a word",
        "",
    ]
    assert report.machine == "a machine"
    # What was measured before it failed is kept.
    assert [part.measured[0].name for part in report.parts] == [f"half of {part.name}" for part in report.parts]


def test_a_part_that_does_not_end_is_ended_and_the_rest_goes_on(tmp_path: Path) -> None:
    report = checked(tmp_path, ["good", "endless", "fine"], endless=1.0)
    assert [part.state for part in report.parts] == ["done", "failed", "done"]
    assert report.parts[1].line == "it took longer than 1 s"


def test_when_the_time_is_up_the_rest_is_left_out_by_name(tmp_path: Path) -> None:
    report = checked(tmp_path, ["endless", "fine", "last"], budget=1.0)
    assert [(part.state, part.line) for part in report.parts] == [
        ("failed", "the time was up"),
        ("left out", "the time was up"),
        ("left out", "the time was up"),
    ]


def test_every_part_has_a_limit_and_is_measured() -> None:
    assert set(run.LIMITS) == set(MEASURES)
    assert run.BUDGET < 540


def test_a_process_that_stays_after_a_failure_is_ended(tmp_path: Path) -> None:
    report = checked(tmp_path, ["staying", "fine"], staying=1.0)
    assert [part.state for part in report.parts] == ["failed", "done"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test needs to be missing")
def test_without_a_gpu_every_part_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = ["--part", "hash grid", "--part", "MVDream"]
    assert main(["bench", "--gpu-check", *parts, "--out", str(tmp_path / "gpu.json")]) == 1
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert rows[1:] == [f"| {name} | failed: there is no CUDA device |" for name in ("hash grid", "MVDream")]


@pytest.mark.parametrize("options", [["--gpu-check", "--part", "all"], ["--part", "hash grid"], ["--dry-run"]])
def test_options_that_make_no_sense_are_refused_in_one_line(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *options]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "; choose of gpu tests, " in line or line.endswith("add it")
