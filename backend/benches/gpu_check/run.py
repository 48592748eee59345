"""The check as a whole: its parts in a process of their own, within a time. Nothing here imports torch."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from backend import program
from backend.benches.gpu_check.lacking import lacking
from backend.benches.gpu_check.report import DONE, FAILED, LEFT_OUT, VERSION, Measured, Part, Report
from shared.records import from_json

LIMITS: dict[str, float] = {
    "gpu tests": 90,
    "hash grid": 40,
    "built-in model": 60,
    "step against guidance": 90,
    "published step": 90,
    "whole object": 200,
    "Stable Diffusion 1.5": 100,
    "MVDream": 100,
    "Stable Diffusion XL": 150,
    "Stable Diffusion 2.1": 100,
}
"""What there is to measure, in this order, and the most seconds that each part may take."""

BUDGET = 520.0
"""Seconds for all of it: nine minutes, less what the last process takes to go."""

_CHILD = "backend.benches.gpu_check.child"
_LINE = 2000


def carried_out(
    names: Sequence[str],
    dry: bool,
    budget: float,
    tell: Callable[[Part], None],
    command: Sequence[str] | None = None,
    limits: dict[str, float] = LIMITS,
) -> Report:
    """The report on the parts `names`, each of which is told when it is over. command: what measures; see `child`."""
    begun = time.monotonic()
    check = _Check(list(names), begun + budget, limits, tell)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        options = ["--folder", folder, *(["--dry"] if dry else [])]
        while check.waiting and time.monotonic() < check.end:
            check.go_on([*(command or program.command(_CHILD)), *options, *check.waiting], Path(folder) / "log")
    for name in tuple(check.waiting):
        check.over(Part(name, LEFT_OUT, 0.0, (), "the time was up"))
    seconds = time.monotonic() - begun
    return Report(
        VERSION, check.machine, dry, budget, seconds, tuple(lacking(Path(tempfile.gettempdir()))), check.parts
    )


class _Check:
    """What is found so far. waiting: the parts that are not over; machine: what a child says that it is."""

    def __init__(self, waiting: list[str], end: float, limits: dict[str, float], tell: Callable[[Part], None]) -> None:
        self.waiting, self.end, self.machine = waiting, end, ""
        self.parts: tuple[Part, ...] = ()
        self._limits, self._tell = limits, tell
        self._begin(waiting[0])

    def over(self, part: Part) -> None:
        self.parts = (*self.parts, part)
        self.waiting.remove(part.name)
        self._tell(part)

    def go_on(self, command: Sequence[str], log: Path) -> None:
        """Hear one child to its end, which comes when all is done, a part failed, or the time is up."""
        self._begin(self.waiting[0])
        with _child(command, log) as heard:
            while self.waiting:
                left = min(self._begun + self._limits[self._name], self.end) - time.monotonic()
                try:
                    said = heard.get(timeout=max(0.0, left))
                except queue.Empty:
                    return self._fail(self._too_long())
                if said is None:
                    ended = self._name not in self.waiting  # as it does after a failure
                    return None if ended else self._fail(_last_line(log) or "its process ended without a word")
                self._hear(said)
        return None

    def _begin(self, name: str) -> None:
        self._name, self._begun = name, time.monotonic()
        self._measured: list[Measured] = []

    def _hear(self, said: dict[str, Any]) -> None:
        if "machine" in said:
            self.machine = said["machine"]
        elif "begun" in said:
            self._begin(said["begun"])
        elif "measured" in said:
            self._measured.append(from_json(Measured, said["measured"]))
        elif "failed" in said:
            self._fail(said["failed"])
        else:
            self.over(Part(self._name, DONE, said["done"], tuple(self._measured)))

    def _fail(self, line: str) -> None:
        if self._name not in self.waiting:  # it failed before, and its process did not go
            return
        seconds = time.monotonic() - self._begun
        self.over(Part(self._name, FAILED, seconds, tuple(self._measured), line[:_LINE]))

    def _too_long(self) -> str:
        if time.monotonic() >= self.end:
            return "the time was up"
        return f"it took longer than {self._limits[self._name]:.0f} s"


@contextlib.contextmanager
def _child(command: Sequence[str], log: Path) -> Iterator["queue.Queue[dict[str, Any] | None]"]:
    """A process and what it says, None at its end. It is ended with all that it has started."""
    heard: queue.Queue[dict[str, Any] | None] = queue.Queue()
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603  # our own words
            command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", start_new_session=True
        )
    assert process.stdout is not None  # noqa: S101 for mypy
    lines = process.stdout

    def hear() -> None:
        for line in lines:
            heard.put(json.loads(line))
        heard.put(None)

    hearing = threading.Thread(target=hear, daemon=True)
    hearing.start()
    try:
        yield heard
    finally:
        _end(process)
        process.wait()
        hearing.join()
        lines.close()


def _end(process: "subprocess.Popen[str]") -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
