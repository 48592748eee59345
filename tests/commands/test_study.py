"""A user study from the command line: the page is written, answered in a browser, and its answers are counted."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from backend.cli import main
from backend.engine.names import ScheduleName
from backend.evaluation.rows import Row, Rows, path_of
from backend.evaluation.runs import DEFAULT, Run, picture_of

ANSWER = Path(__file__).parent / "in_browser" / "answer_study.py"
DEADLINE = 300.0
OFFSCREEN = {"QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_DISABLE_SANDBOX": "1"}  # root may not run Chromium's sandbox


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """Three pairs: what time_prior made is red and what uniform made is blue, with more green from pair to pair."""
    kept = Rows(tmp_path, "3d", {}, resume=False)
    colours: dict[ScheduleName, tuple[int, int]] = {"time_prior": (220, 0), "uniform": (0, 220)}
    for number in range(3):
        for schedule, (red, blue) in colours.items():
            run = Run("3d", DEFAULT, schedule, 60, f"a thing {number}", 0)
            kept.append(Row(run))
            picture_of(run, tmp_path).parent.mkdir(exist_ok=True)
            Image.new("RGB", (8 * 64, 64), (red, 60 * number, blue)).save(picture_of(run, tmp_path))
    return tmp_path


@pytest.mark.skipif(
    not (find_spec("PyQt6") and find_spec("PyQt6.QtWebEngineCore")),
    reason="a browser is not installed: pip install '.[browser]'",
)
def test_a_study_is_answered_in_a_browser_and_counted(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = evaluated / "page.html"
    assert main(["evaluate", "--study", str(page), "--out", str(evaluated)]) == 0
    assert f"wrote {page}: 3 pairs of time_prior/60 and uniform/60, " in capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, str(ANSWER), str(page), str(evaluated)],
        env=os.environ | OFFSCREEN,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert set(seen["requests"]) == {page.as_uri()}, "the page asks for nothing but itself"
    assert seen["complaints"] == []
    assert len({tuple(person["order"]) for person in seen["people"]}) > 1
    assert {side for person in seen["people"] for side in person["exchanged"]} == {True, False}
    assert len({person["participant"] for person in seen["people"]}) == len(seen["people"])

    # Without the folder of the evaluation, since the file says all.
    path_of(evaluated, "3d").unlink()
    assert main(["evaluate", "--study-results", str(evaluated / seen["saved"])]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "time_prior/60 against uniform/60, in 3 pairs:"
    fits, looks = (
        said.index(f"Which {asked} better? 3 answers of 1 person on 3 prompts:")
        for asked in ("fits the words", "looks")
    )
    assert said[fits + 1 : fits + 4] == ["  time_prior/60: 100.0%", "  uniform/60: 0.0%", "  no difference: 0.0%"]
    assert said[looks + 1 : looks + 4] == ["  time_prior/60: 0.0%", "  uniform/60: 100.0%", "  no difference: 0.0%"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--study", "page.html", "--suite", "2d"], "holds no rows of 2d"),
        (["--study", "page.html", "--arms", "time_prior,linear"], 'no run of 3d is "linear"'),
        (["--study", "page.html", "--pairs", "0"], "is not in the range"),
        (["--study", "page.txt"], "try --study page.html"),
        (["--study-results"], "name the files that people saved"),
        (["rows-3d.jsonl"], "answers are counted by --study-results FILES"),
        (["--study-results", "nowhere.json"], "does not exist"),
        (["--study-results", "rows-3d.jsonl"], "rows-3d.jsonl holds no answers to a study"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    evaluated: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(evaluated)
    before = sorted(evaluated.iterdir())
    assert main(["evaluate", "--out", ".", *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert sorted(evaluated.iterdir()) == before
