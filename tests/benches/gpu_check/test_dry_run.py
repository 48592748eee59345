"""All of it on the CPU with tiny models, as a user runs it. Nothing here asserts a speed."""

import re
import subprocess
from pathlib import Path

import pytest

from backend import program
from backend.benches.gpu_check import lacking, parts, report, run
from backend.cli import main
from backend.engine.optimise import Progress
from backend.errors import UserError
from backend.pipeline.job import Job
from backend.pipeline.stages import Listener, Status

BUT_ONE = tuple(name for name in run.LIMITS if name != "built-in model")
"""That one makes an object as "whole object" does, and its pictures take as long as all the rest."""


@pytest.mark.parametrize("names", [BUT_ONE, pytest.param(tuple(run.LIMITS), marks=pytest.mark.long)])
def test_every_part_is_gone_through_and_what_it_wrote_is_printed_again(
    names: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    chosen = [option for name in names for option in ("--part", name)] if names == BUT_ONE else []
    assert main(["bench", "--gpu-check", "--dry-run", *chosen, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == f"wrote {out}"
    found = report.read(out)
    assert [(part.name, part.state) for part in found.parts] == [(name, report.DONE) for name in names]
    assert found.dry
    assert "cores" in found.machine
    measured = {f"{part.name}: {one.name}": one for part in found.parts for one in part.measured}
    for kind in ("Stable Diffusion 1.5", "Stable Diffusion 2.1", "Stable Diffusion XL"):
        assert measured[f"{kind}: pixels, 8 GB"].figures
        assert measured[f"{kind}: latents, 8 GB"].figures
    assert measured["MVDream: pixels, 8 GB"].figures
    assert len(measured["published step: threestudio's settings: one view, two predictions"].figures) == 3
    assert "triangles" in {figure.what for figure in measured["whole object: 2 steps to a mesh"].figures}
    assert all(figure.value > 0 for one in measured.values() for figure in one.figures)

    assert main(["bench", "--from", str(out)]) == 0
    assert capsys.readouterr().out == printed.out


def test_the_pace_is_kept_where_no_mesh_comes_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(job: Job, out: Path, resume: bool, listen: Listener) -> None:
        progress = Progress(1, 2, 500, {}, 0, lambda *_: pytest.fail("not looked at"), dict)
        for _ in range(3):
            listen(Status("optimising", progress))
        raise UserError("nothing is there; try another prompt")

    monkeypatch.setattr(parts, "generate", generate)
    measuring = parts.builtin(parts.Check(dry=True, folder=tmp_path))
    measured = next(measuring)
    assert measured.name == "3 steps, and no mesh"
    assert [figure.what for figure in measured.figures] == ["it/s"]
    with pytest.raises(UserError, match="nothing is there"):
        next(measuring)


def test_without_torch_a_part_fails_in_one_line_and_the_report_is_written(tmp_path: Path) -> None:
    """As on a machine that lacks a package."""
    (tmp_path / "torch.py").write_text("raise ImportError('there is no torch here')")
    command = [*program.command("backend"), "bench", "--gpu-check", "--part", "hash grid", "--out", "gpu.json"]
    paths = f"{tmp_path}:{lacking.ROOT}"
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "| hash grid | failed: ImportError: there is no torch here |" in done.stdout
    assert report.read(tmp_path / "gpu.json").parts[0].state == report.FAILED


def test_packages_that_are_not_there_are_named_with_how_to_carry_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["torch>=2", "left-pad >=1.2,<3"]\n')
    (tmp_path / "requirements.lock").write_text("left-pad==1.3.0\ntorch==2.13.0\n")
    lines = list(lacking.packages(tmp_path))
    assert len(lines) == 1
    assert "--dest wheels left-pad==1.3.0" in lines[0]
    assert "torch" not in lines[0]
    assert re.search(r"pip install --no-index --no-deps wheels/\*$", lines[0])
    assert list(lacking.packages(lacking.ROOT)) == []
