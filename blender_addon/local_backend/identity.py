"""Which process a number means: numbers are given anew, so the time of its start belongs to it."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

_ASK_SECONDS = 5.0
_AFTER_NAME = 19  # the start time in /proc/PID/stat, counted from behind the name, which may hold spaces


@dataclass(frozen=True)
class Identity:
    """pid: the number. born: when it started, in the words of the system; two processes never share both."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """None if there is no such process."""
        born = _born(pid)
        return cls(pid, born) if born else None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The process that a file names, if it still runs."""
        try:
            content = json.loads(path.read_text("utf-8"))
            found = cls(int(content["pid"]), str(content["born"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.alive() else None

    def write(self, path: Path) -> None:
        partial = path.with_name(f"{path.name}.{self.pid}.partial")
        partial.write_text(json.dumps(asdict(self)), "utf-8")
        partial.replace(path)

    def forget(self, path: Path) -> None:
        """Delete the file if it names this process."""
        with suppress(OSError, ValueError):
            if json.loads(path.read_text("utf-8")) == asdict(self):
                path.unlink()

    def alive(self) -> bool:
        return _born(self.pid) == self.born

    def runs(self) -> bool:
        """Whether one that was alive still is, at once: where the start is asked of a program, by the number alone."""
        return self.alive() if sys.platform in {"linux", "win32"} else _in_use(self.pid)


def _in_use(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _born(pid: int) -> str | None:
    if pid <= 0:
        return None
    if sys.platform == "linux":
        return _born_linux(pid)
    return _born_windows(pid) if sys.platform == "win32" else _born_unix(pid)


def _born_linux(pid: int) -> str | None:
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
    return None if state == "Z" else f"{boot} {fields[_AFTER_NAME - 1]}"


def _born_unix(pid: int) -> str | None:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        told = subprocess.run(  # noqa: S603 the system's own program
            command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True, env={"LC_ALL": "C"}
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    state, _, started = told.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _born_windows(pid: int) -> str | None:
    import ctypes
    from ctypes import wintypes

    may_ask, still_active = 0x1000, 259  # PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = wintypes.HANDLE(kernel.OpenProcess(may_ask, False, pid))
    if not handle:
        return None
    try:
        code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
        known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        if not known or code.value != still_active or not kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
            return None
        return f"{times[0].dwHighDateTime} {times[0].dwLowDateTime}"
    finally:
        kernel.CloseHandle(handle)
