"""The evaluation from the command line, whole, on tiny budgets."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from backend.cli import main
from backend.evaluation import gradients, report, rows
from backend.evaluation.prompts import Prompts
from backend.evaluation.rows import Rows
from backend.evaluation.runs import ABLATIONS, DEFAULT, planned_runs
from backend.evaluation.suites import carried_out, facts_of, prepared
from backend.guidance import library
from backend.prior.lexicon import Lexicon

TINY = ["--prompts", "2", "--seeds", "1", "--schedules", "time_prior,uniform", "--budgets", "2,4"]


def test_the_whole_path_and_on_from_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.commands.evaluate.GRADIENT_PROMPTS", 1)
    monkeypatch.setattr("backend.evaluation.suites.GRADIENT_PROMPTS", 1)
    monkeypatch.setattr("backend.evaluation.gradients.NOISES", 2)
    monkeypatch.setattr("backend.evaluation.runs._MESHES", 1)
    asked = Prompts.drawn(Lexicon.load(library.builtin().folder))
    for suite in ("2d", "3d"):
        assert main(["evaluate", "--suite", suite, *TINY, "--out", str(tmp_path)]) == 0
        made = rows.read(rows.path_of(tmp_path, suite))
        assert set(made) == set(planned_runs(suite, asked, 2, 1, ("time_prior", "uniform"), (2, 4)))
        assert not [row.failure for row in made.values() if row.failure]
    assert all({"r_precision", "few", "grey"} <= row.measures.keys() for row in made.values())
    assert sum("mesh_few" in row.measures for row in made.values()) == 1
    said = capsys.readouterr().out
    assert "Images:\n  At equal budget time_prior is better than uniform" in said
    assert "Objects:\n  At equal budget time_prior is better than uniform" in said
    text = (tmp_path / report.MARKDOWN).read_text()
    assert "## Images" in text
    assert "## Objects" in text
    assert "## The gradient" in text
    for name in ("2d.png", "3d.png", "2d-sheet.png", "3d-sheet.png", "gradients.png", "frequencies.png"):
        assert (tmp_path / name).stat().st_size > 500

    # One row is lost: it alone is made again, and is what it was.
    path = rows.path_of(tmp_path, "3d")
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert main(["evaluate", "--suite", "3d", *TINY, "--out", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["evaluate", "--suite", "3d", *TINY, "--out", str(tmp_path), "--resume"]) == 0
    again = rows.read(path)
    assert list(again) == list(made)
    last = list(made)[-1]
    assert again[last].measures == made[last].measures
    assert again[last].cells == made[last].cells

    # Gradients that are there stay, and what would be refused later is refused before anything runs.
    kept = (tmp_path / gradients.FILE).stat().st_mtime_ns
    assert main(["evaluate", "--suite", "2d", *TINY, "--out", str(tmp_path), "--resume"]) == 0
    assert (tmp_path / gradients.FILE).stat().st_mtime_ns == kept
    rows.path_of(tmp_path, "2d").unlink()
    assert main(["evaluate", *TINY, "--out", str(tmp_path)]) == 2
    assert not rows.path_of(tmp_path, "2d").exists()

    # What is made of true objects is refused without them, and is no part of all.
    assert main(["evaluate", "--suite", "starts", "--out", str(tmp_path)]) == 2
    assert "name a folder of them with --objects" in capsys.readouterr().err
    assert not rows.path_of(tmp_path, "starts").exists()

    # Rows measured otherwise than they would be now are not added to.
    objects = tmp_path / "objects"
    objects.mkdir()
    (objects / "mug.glb").write_bytes(b"")
    capsys.readouterr()
    options = [*TINY, "--objects", str(objects), "--out", str(tmp_path), "--resume"]
    assert main(["evaluate", "--suite", "3d", *options]) == 2
    assert "(objects differ)" in capsys.readouterr().err

    # The report comes from the rows alone.
    (tmp_path / report.MARKDOWN).unlink()
    assert main(["evaluate", "--report-only", "--out", str(tmp_path)]) == 0
    assert (tmp_path / report.MARKDOWN).exists()


def test_prompts_of_ones_own_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.evaluation.runs._MESHES", 0)
    asked = tmp_path / "asked.txt"
    asked.write_text("a red fox\n\n  a  mug \na red fox\n")
    options = ["--prompts", str(asked), *TINY[2:], "--suite", "3d", "--out", str(tmp_path / "out")]
    assert main(["evaluate", *options]) == 0
    made = rows.read(rows.path_of(tmp_path / "out", "3d"))
    assert len(made) == 8
    assert {run.prompt for run in made} == {"a red fox", "a mug"}
    asked.write_text("a red fox\n")
    capsys.readouterr()
    assert main(["evaluate", *options, "--resume"]) == 2
    assert "(prompts differ)" in capsys.readouterr().err, "CLIP would choose among others"


def test_an_ablation_and_a_preset_are_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.evaluation.runs.STEPS", 2)
    bench = prepared("builtin", "cpu", None)
    runs = [
        run
        for run in planned_runs("ablations", bench.asked, 1, 1, (), ())
        if run.variant in (DEFAULT, "cfg=15", "no decay")
    ][:3]
    kept = Rows(tmp_path, "ablations", facts_of(bench, "ablations"), resume=False)
    assert list(carried_out(bench, runs, kept, tmp_path)) == runs
    made = rows.read(rows.path_of(tmp_path, "ablations"))
    assert {run.variant for run in made} == {DEFAULT, "cfg=15", "no decay"} <= {DEFAULT, *ABLATIONS}
    assert len({json.dumps(asdict(row)["features"]) for row in made.values()}) == 3


@pytest.mark.long
def test_a_mesh_is_painted_where_that_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.evaluation.runs.STEPS", 40)
    bench = prepared("builtin", "cpu", None)
    runs = [run for run in planned_runs("parts", bench.asked, 1, 1, (), ()) if run.variant in (DEFAULT, "painted")][:2]
    kept = Rows(tmp_path, "parts", facts_of(bench, "parts"), resume=False)
    assert list(carried_out(bench, runs, kept, tmp_path)) == runs
    made = {run.variant: row for run, row in kept.read().items()}
    assert made["painted"].measures["confidence"] == made[DEFAULT].measures["confidence"], "the field is the same"
    assert made["painted"].measures["mesh_grey"] == made[DEFAULT].measures["mesh_grey"]
    assert made["painted"].measures["mesh_confidence"] != made[DEFAULT].measures["mesh_confidence"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--schedules", "time_prior,linnear"], 'there is no schedule "linnear"; choose of time_prior'),
        (["--budgets", "60,many"], "try --budgets 30,60,120"),
        (["--budgets", "0"], "a budget is 1 to 1,000,000 steps"),
        (["--budgets", "60,2000000"], "a budget is 1 to 1,000,000 steps"),
        (["--prompts", "99"], "1<=x<=24"),
        (["--prompts", "nowhere.txt"], "nowhere.txt is no number of prompts, nor a text file that can be read"),
        (["--prompts", os.devnull], "holds no prompts: write one to a line"),
        (["--guidance", "nowhere"], "nowhere"),
        (["--report-only"], "holds no rows"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["evaluate", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("out", ["a file", "a file/below"])
def test_a_folder_that_cannot_be_is_named_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    (tmp_path / "a file").write_text("mine")
    assert main(["evaluate", "--out", str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert "name another folder with --out" in error
    assert error.count("\n") == 1
    assert (tmp_path / "a file").read_text() == "mine"


def test_rows_that_cannot_be_written_end_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows.Rows, "append", full)
    monkeypatch.setattr("backend.evaluation.runs._MESHES", 0)
    assert main(["evaluate", "--suite", "3d", *TINY, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "use --resume" in error
