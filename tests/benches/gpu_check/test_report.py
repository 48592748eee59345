"""What the check wrote is read again, and nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.benches.gpu_check import report
from backend.benches.gpu_check.report import Figure, Measured, Part, Report
from backend.cli import main

SPEED = Measured("pixels, 8 GB", (Figure(3.21456, "it/s"), Figure(1234.5, "ms")), "with a note")
WHOLE = Report(
    version=1,
    machine="NVIDIA of ours, 80 GiB",
    dry=False,
    budget=520.0,
    seconds=301.5,
    lacking=("tinycudann: build it",),
    parts=(
        Part("speed", "done", 4.0, (SPEED,)),
        Part("objects", "failed", 2.0, (), "RuntimeError: no surface"),
        Part("rest", "left out", 0.0, (), "the time was up"),
    ),
)


def test_a_report_is_printed_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.write(WHOLE, tmp_path / "gpu.json")
    assert report.read(tmp_path / "gpu.json") == WHOLE
    assert main(["bench", "--from", str(tmp_path / "gpu.json")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NVIDIA of ours, 80 GiB",
        "",
        "| measured | |",
        "|---|---|",
        "| speed: pixels, 8 GB | 3.21 it/s, 1,234 ms, with a note |",
        "| objects | failed: RuntimeError: no surface |",
        "| rest | left out: the time was up |",
        "",
        "302 s of 520",
        "lacking: tinycudann: build it",
    ]


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(json.dumps(report.to_json(WHOLE))), **values})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no report of a GPU"),
        ("{", "no report of a GPU"),
        ("[]", "a Report is a list"),
        ("[" * 100_000, "no report of a GPU"),
        ("{}", "lacks"),
        (changed(version=2), "version is 2"),
        (changed(dry="no"), "dry is 'no'"),
        (changed(seconds=float("nan")), "seconds is nan"),
        (changed(more=1), "has no 'more'"),
        (changed(parts=[{"name": "x", "state": "so so", "seconds": 0, "measured": []}]), "state is 'so so'"),
    ],
)
def test_another_file_is_refused_in_one_line(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.json").write_text(content)
    assert main(["bench", "--from", str(tmp_path / "other.json")]) != 0
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert said in line
    assert line.endswith("name what --gpu-check wrote")


def test_a_file_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        assert main(["bench", "--from", str(path)]) != 0
        (line,) = capsys.readouterr().err.splitlines()
        assert "cannot read" in line
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    assert main(["bench", "--from", str(tmp_path / "bytes.json")]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no report of a GPU" in line


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(report.UnwritableError, match="--out"):
        report.write(WHOLE, tmp_path / "no" / "folder.json")


def test_three_digits_count() -> None:
    assert [report.shown(value) for value in (0.12345, 3.0, 45.67, 123.4, 20_000.0)] == [
        "0.123",
        "3",
        "45.7",
        "123",
        "20,000",
    ]
