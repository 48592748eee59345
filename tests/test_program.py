"""dreamtime, the command that an installation brings: the same as python -m backend, wherever it is called."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from backend import __main__, program
from backend.home import VARIABLE

ROOT = Path(__file__).parent.parent
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with a "backend" and a "shared" of another program."""
    for name in ("backend/__init__.py", "backend/__main__.py", "shared/__init__.py"):
        (tmp_path / "elsewhere" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "elsewhere" / name).write_text("raise SystemExit('this is another program')")
    return tmp_path / "elsewhere"


@pytest.fixture
def start(tmp_path: Path, elsewhere: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the console script, written as pip does, in that folder."""
    module, _, function = SCRIPTS["dreamtime"].partition(":")
    script = tmp_path / "bin" / "dreamtime"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")

    def start(*arguments: str) -> "subprocess.Popen[str]":
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        own = {VARIABLE: str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
        # Not by its first line, in which no path may have a space; pip writes another kind there.
        return subprocess.Popen([sys.executable, script, *arguments], cwd=elsewhere, env=own, **pipes)

    return start


def test_the_script_runs_the_program() -> None:
    assert EntryPoint("dreamtime", SCRIPTS["dreamtime"], "console_scripts").load() is __main__.run


def test_jobs_are_done_in_a_folder_with_another_programs_modules(start: Callable[..., "subprocess.Popen[str]"]) -> None:
    server = start("serve", "--port", "0", "--worker", "backend.benches.worker")
    try:
        assert server.stdout
        assert server.stdout.readline().startswith("ready at ")
        printed, complaint = start("submit", "a red mug", "--follow").communicate(timeout=60)
        assert " is done" in printed, complaint
    finally:
        server.terminate()
        server.communicate()


def test_usage_names_what_was_called(start: Callable[..., "subprocess.Popen[str]"]) -> None:
    assert start("fetch", "--help").communicate()[0].startswith("Usage: dreamtime fetch [OPTIONS] JOB\n")
    command = [sys.executable, "-m", "backend", "fetch", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: python -m backend fetch [OPTIONS] JOB\n")


def test_only_in_its_own_checkout_is_the_folder_looked_into(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere)
    assert program.command("backend") == (sys.executable, "-P", "-m", "backend")
    monkeypatch.chdir(ROOT)
    assert program.command("backend") == (sys.executable, "-m", "backend")
