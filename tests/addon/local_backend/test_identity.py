"""Which process a number means."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


@pytest.fixture(params=["_born_linux", "_born_unix"])
def way(request: pytest.FixtureRequest, m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find out when a process started; the second is that of macOS."""
    monkeypatch.setattr(m.identity, "_born", getattr(m.identity, request.param))


@pytest.mark.usefixtures("way")
def test_a_process_is_itself_until_it_ends(m: Any, until: Callable[[Callable[[], bool]], None]) -> None:
    process = sleeper()
    identity = m.identity.Identity.of(process.pid)
    assert identity.alive()
    assert identity == m.identity.Identity.of(process.pid)
    assert not m.identity.Identity(process.pid, "another time").alive()
    process.kill()
    until(lambda: not identity.alive())  # though nobody has reaped it
    process.wait()
    assert m.identity.Identity.of(process.pid) is None


def test_no_process_has_the_number_zero(m: Any) -> None:
    assert m.identity.Identity.of(0) is None


def test_a_file_names_a_process_only_while_it_runs(m: Any, tmp_path: Path) -> None:
    path = tmp_path / "running.json"
    assert m.identity.Identity.read(path) is None
    identity = m.identity.Identity.of(os.getpid())
    identity.write(path)
    assert m.identity.Identity.read(path) == identity
    other = m.identity.Identity(os.getpid(), "another time")
    other.forget(path)
    assert path.exists()
    identity.forget(path)
    assert not path.exists()
    other.write(path)
    assert m.identity.Identity.read(path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "born": ""}', "\x00"])
def test_a_damaged_file_names_nobody(m: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "running.json"
    path.write_text(text)
    assert m.identity.Identity.read(path) is None
    m.identity.Identity(1, "").forget(path)
    assert path.exists()


def test_where_the_start_is_slow_to_ask_for_the_number_will_do(m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = m.identity.Identity.of(child.pid)
        monkeypatch.setattr(m.identity, "sys", SimpleNamespace(platform="darwin"))
        monkeypatch.setattr(m.identity.subprocess, "run", pytest.fail)
        assert identity.runs()
        child.kill()
    assert not identity.runs()
