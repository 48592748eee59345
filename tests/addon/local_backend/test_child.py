"""Programs that Blender starts."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest


def test_blenders_own_variables_do_not_leak_and_pips_stay(m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PIP_TARGET", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/blender")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror")
    monkeypatch.setenv("PIP_USER", "1")
    found = m.child.variables(DREAMTIME_HOME="/home")
    assert "/blender" not in found.values()
    assert (found["PIP_INDEX_URL"], found["PIP_USER"], found["DREAMTIME_HOME"]) == ("https://mirror", "0", "/home")
    assert found["PYTHONNOUSERSITE"] == "1"
    assert "PATH" in found


def test_a_folder_where_it_starts_is_not_taken_for_the_program(m: Any, tmp_path: Path) -> None:
    (tmp_path / "lying_here.py").write_text("print('wrong')")
    child = m.child.Child([sys.executable, "-m", "lying_here"], tmp_path)
    assert "wrong" not in list(child.lines())
    assert child.wait() == 1


def test_lines_of_both_streams_come_and_the_code(m: Any, tmp_path: Path) -> None:
    code = r"import sys; print('one\rtwo'); sys.stderr.buffer.write(b'\xff three\n'); sys.exit(3)"
    child = m.child.Child([sys.executable, "-c", code], tmp_path)
    assert sorted(child.lines()) == ["one", "two", "\ufffd three"]
    assert child.wait() == 3


def test_killing_ends_what_it_started_too(m: Any, tmp_path: Path, until: Callable[[Callable[[], bool]], None]) -> None:
    code = (
        "import subprocess, sys\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(inner.pid)\n"
        "inner.wait()\n"
    )
    child = m.child.Child([sys.executable, "-c", code], tmp_path)
    lines = child.lines()
    inner = psutil.Process(int(next(lines)))
    threading.Timer(0.01, child.kill).start()
    assert list(lines) == []
    assert child.wait() < 0
    until(lambda: not inner.is_running() or inner.status() == psutil.STATUS_ZOMBIE)
    child.kill()  # again, when there is nothing left
