"""What the bench prints of objects that begin from something. Nothing here asserts a speed."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.benches import engine, starts
from backend.evaluation.runs import BEGINNINGS

_STEPS = 30


@pytest.mark.long
def test_every_beginning_has_its_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []

    def commanded(options: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
        asked.append(options)
        return engine.commanded([*options, "--steps", str(_STEPS)], out)

    monkeypatch.setattr(starts, "commanded", commanded)
    rows = list(starts.start_rows("draft", "cpu"))
    assert [name for name, _ in rows] == [f"draft, begun from: {each}" for each in BEGINNINGS]
    assert all(re.fullmatch(r"\d+\.\d s, at most \d\.\d\d GiB", value) for _, value in rows)
    assert ["--start" in options for options in asked] == [False, True, True, True, True]


def test_without_a_first_object_there_is_nothing_to_begin_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def commanded(options: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
        return engine.commanded([*options, "--steps", "no number"], out)

    monkeypatch.setattr(starts, "commanded", commanded)
    assert list(starts.start_rows("draft", "cpu")) == [("draft, begun from: nothing", "failed")]
