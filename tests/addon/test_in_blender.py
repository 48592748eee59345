"""The installed add-on inside real Blenders."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.pairing import Pairing

Run = Callable[..., str]
HERE = Path(__file__).parent / "in_blender"


def test_it_comes_and_goes_without_a_trace(blender: Path, run_blender: Run) -> None:
    assert "clean" in run_blender(blender, HERE / "registration.py")


def test_without_a_backend_it_says_what_to_do(blender: Path, run_blender: Run) -> None:
    assert "stopped" in run_blender(blender, HERE / "no_backend.py")


def test_buttons_are_there_when_they_make_sense(blender: Path, run_blender: Run, host: Any) -> None:
    environment = {"DREAMTIME_HOME": str(host.folder)}
    assert "polls are right" in run_blender(blender, HERE / "polls.py", environment=environment)


def test_words_are_offered_while_the_prompt_is_typed(blender: Path, run_blender: Run, host: Any) -> None:
    environment = {"DREAMTIME_HOME": str(host.folder)}
    assert "words are offered" in run_blender(blender, HERE / "words.py", environment=environment)


def test_news_go_where_they_belong(blender: Path, run_blender: Run) -> None:
    assert "all in its place" in run_blender(blender, HERE / "whereto.py")


def test_an_object_gets_new_colours_and_stays_as_it_was(blender: Path, run_blender: Run, host: Any) -> None:
    environment = {"DREAMTIME_HOME": str(host.folder)}
    assert "painted and nothing else" in run_blender(blender, HERE / "paint.py", environment=environment)


def test_the_viewport_becomes_a_picture_to_begin_from(blender: Path, run_blender: Run) -> None:
    assert "taken as it is" in run_blender(blender, HERE / "viewport.py")


def test_keys_that_are_refused_are_said_to_be(blender: Path, run_blender: Run, host: Any) -> None:
    lines = [str(Pairing("127.0.0.1", host.port, host.pairing.server_key, host.keys.pair(name))) for name in ("a", "b")]
    host.keys.revoke("a")
    assert "told apart" in run_blender(blender, HERE / "wrong_key.py", *lines)


def test_a_backend_of_another_version_is_said_to_be(blender: Path, run_blender: Run, host: Any) -> None:
    environment = {"DREAMTIME_HOME": str(host.folder)}
    assert "versions are told apart" in run_blender(blender, HERE / "wrong_version.py", environment=environment)


def test_a_prompt_becomes_an_object(blender: Path, run_blender: Run, real_host: Any, tmp_path: Path) -> None:
    environment = {"DREAMTIME_HOME": str(real_host.folder)}
    saved = tmp_path / "saved.blend"
    assert "generated and imported" in run_blender(
        blender, HERE / "generate.py", saved, environment=environment, seconds=1200.0
    )


def test_a_blender_that_was_closed_finds_its_job_again(blender: Path, run_blender: Run, host: Any) -> None:
    environment = {"DREAMTIME_HOME": str(host.folder)}
    job = run_blender(blender, HERE / "close.py", environment=environment).split("job ")[1].split()[0]
    host.go()
    assert "picked up" in run_blender(blender, HERE / "reopen.py", job, environment=environment)
    assert host.executions() == 1


def test_a_backend_that_is_killed_and_started_again_costs_nothing(blender: Path, run_blender: Run, host: Any) -> None:
    environment = {"DREAMTIME_HOME": str(host.folder), "FAKE_EXECUTIONS": str(host.folder / "executions")}
    root = Path(__file__).parents[2]
    command = [
        "env",
        f"PYTHONPATH={root}",
        sys.executable,
        root / "tests" / "faults" / "host.py",
        host.folder,
        host.port,
    ]
    printed = run_blender(blender, HERE / "restart.py", host.process.pid, *command, environment=environment)
    assert "went on" in printed


def test_the_local_backend_is_removed_with_a_button(blender: Path, run_blender: Run) -> None:
    root = Path(__file__).parents[2]
    assert "removed" in run_blender(blender, HERE / "remove.py", sys.executable, root)


@pytest.fixture(autouse=True)
def _in_this_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts share desk.py."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
