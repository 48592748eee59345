"""Programs that Blender starts: none of its own variables leak into them, and they end with all that they started."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

_NOT_PASSED_ON = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_OWN = {
    "PYTHONNOUSERSITE": "1",
    "PYTHONSAFEPATH": "1",  # a folder "backend" where Blender was started must not be taken for the program
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "PIP_USER": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
}


def variables(**more: str) -> dict[str, str]:
    """The environment variables for a Python other than Blender's: pip's settings are kept, Python's are not."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in _NOT_PASSED_ON
    }
    return {**kept, **_OWN, **more}


def quiet() -> Mapping[str, Any]:
    """For `subprocess`: no console window pops up on Windows."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {}


def apart() -> Mapping[str, Any]:
    """For `subprocess`: a process group of its own, so that it can be ended as a whole and Ctrl-C is not for it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


class Child:
    """A program that runs to its end while its lines are read. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str], folder: Path, **more: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 the add-on's own commands
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env=variables(**more),
            **apart(),
        )

    def lines(self) -> Iterator[str]:
        """What it prints, on either stream, until it ends."""
        with cast(TextIO, self._process.stdout) as printed:
            for line in printed:
                yield line.rstrip("\n")

    def wait(self) -> int:
        """The exit code, once its lines are read."""
        return self._process.wait()

    def kill(self) -> None:
        """End it and what it started. May be called from any thread, at any time."""
        if self._process.poll() is None:
            kill_group(self._process.pid)


def kill_group(pid: int) -> None:
    """End the process, which was started `apart`, with all of its group."""
    if sys.platform == "win32":
        system = Path(os.environ["SYSTEMROOT"], "System32", "taskkill.exe")
        command = [str(system), "/T", "/F", "/PID", str(pid)]
        subprocess.run(command, capture_output=True, check=False, **quiet())  # noqa: S603 Windows' own program
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
