"""One device of this machine: its worker process through starting, working, dying, and being cancelled."""

import logging
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.service.child import Child, Gone, News, Ready, Spent
from backend.service.executor import Advanced, Crashed, DeviceState, Stopped, Task, Update

logger = logging.getLogger(__name__)

QUICK_DEATHS = 5
"""A device whose worker died so often while it started is broken."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    cancel: from asking a task to end until SIGTERM. terminate: from there until SIGKILL. start: until a worker has to
    be warm. restart: after a worker died while it started, doubled each time up to restart_most. broken: until a
    broken device is tried again.
    """

    cancel: float = 10.0
    terminate: float = 10.0
    start: float = 300.0
    restart: float = 0.5
    restart_most: float = 30.0
    broken: float = 60.0


class Slot:
    """A device and its worker. state, trouble: see `executor.Device`. task: what it works on.

    begin: starts a process; raises OSError. Times are monotonic seconds.
    """

    def __init__(self, device: str, begin: Callable[[], Child[News]], patience: Patience) -> None:
        self.device = device
        self.state: DeviceState = "starting"
        self.trouble = ""
        self.task: Task | None = None
        self.child: Child[News] | None = None
        self.facts: dict[str, Any] = {}
        self._begin = begin
        self._patience = patience
        self._deaths = 0
        self._warm = False
        self._due = -math.inf  # when to start a process; while it is not warm, when to give it up
        self._cancelled = False
        self._rungs: list[tuple[float, Callable[[], None]]] = []
        self._next_rung: float | None = None

    def start(self, task: Task) -> None:
        """Give `task` to the idle worker."""
        assert self.child is not None  # noqa: S101 for mypy: it is idle
        self.task, self.state = task, "busy"
        self.child.rotate_log()
        self.child.send(
            {
                "do": "start",
                "job": task.job,
                "attempt": task.attempt,
                "request": task.request,
                "folder": str(task.folder),
                "given": task.given and str(task.given),
            }
        )

    def cancel(self) -> None:
        """Ask for the end of the task, and prepare to insist."""
        if self.task is None or self.child is None or self._cancelled:
            return
        self._cancelled = True
        self.child.send({"do": "cancel", "job": self.task.job, "attempt": self.task.attempt})
        self._rungs = [(self._patience.cancel, self.child.terminate), (self._patience.terminate, self.child.kill)]

    def poll(self, now: float) -> list[Update]:
        """What became of the task, once per outcome; and whatever is due is done."""
        updates = [update for one in (self.child.take() if self.child else []) for update in self._hear(one, now)]
        if self.child is None and now >= self._due:
            self._start_worker(now)
        elif self.child and not self._warm and now >= self._due:
            logger.error("%s: the worker did not get warm", self.device)
            self._due = math.inf
            self.child.kill()
        self._insist(now)
        return updates

    def dismiss(self) -> None:
        """Have the worker end itself."""
        if self.child:
            self.child.dismiss()

    def close(self) -> None:
        """End the worker. No task is told of any more."""
        if self.child:
            self.child.close()
            self.child = None

    def _hear(self, news: News, now: float) -> list[Update]:
        if isinstance(news, Ready):
            self.facts, self.state, self.trouble = news.facts, "idle", ""
            self._warm, self._deaths = True, 0
        elif isinstance(news, Spent):
            self.state = "starting"
        elif isinstance(news, Gone):
            return self._bury(news, now)
        elif self.task and (news.job, news.attempt) == (self.task.job, self.task.attempt):
            if not isinstance(news, Advanced):
                self._finish()
                self.state = "idle"
            return [news]
        return []

    def _finish(self) -> None:
        self.task, self._cancelled, self._rungs, self._next_rung = None, False, [], None

    def _bury(self, gone: Gone, now: float) -> list[Update]:
        """After the worker's death: tell of its task, and plan when to start the next one."""
        child, task, cancelled = self.child, self.task, self._cancelled
        assert child is not None  # noqa: S101 for mypy: its news was just taken
        child.close()
        self.child = None
        self._finish()
        if not self._warm:
            self._fail_to_start(f"the worker died while it started ({_reason(gone)}): {child.last_words()}", now)
            return []
        self.state, self._due = "starting", now
        if task is None:
            return []
        if cancelled:
            return [Stopped(task.job, task.attempt)]
        return [Crashed(task.job, task.attempt, _reason(gone), _sentence(gone, child))]

    def _start_worker(self, now: float) -> None:
        self._warm, self._due = False, now + self._patience.start
        try:
            self.child = self._begin()
        except OSError as error:
            self._fail_to_start(f"the worker cannot be started ({error})", now)

    def _fail_to_start(self, trouble: str, now: float) -> None:
        logger.error("%s: %s", self.device, trouble)
        self._deaths += 1
        if self._deaths >= QUICK_DEATHS:
            self.state, self.trouble, self._due = "broken", trouble, now + self._patience.broken
        else:
            pause = self._patience.restart * 2 ** (self._deaths - 1)
            self._due = now + min(pause, self._patience.restart_most)

    def _insist(self, now: float) -> None:
        """Climb the ladder of a task that was cancelled and goes on."""
        if not self._rungs:
            return
        if self._next_rung is not None and now >= self._next_rung:
            _, act = self._rungs.pop(0)
            logger.warning("%s: a cancelled task goes on; %s", self.device, act.__name__)
            act()
            self._next_rung = None
        if self._next_rung is None and self._rungs:
            self._next_rung = now + self._rungs[0][0]


def _reason(gone: Gone) -> str:
    """What ended the process: a signal's name, or an exit code."""
    if gone.code >= 0:
        return f"exit code {gone.code}"
    try:
        return signal.Signals(-gone.code).name
    except ValueError:  # a real-time signal has no name
        return f"signal {-gone.code}"


def _sentence(gone: Gone, child: Child[News]) -> str:
    """What an artist is told about it."""
    if _reason(gone) == "SIGKILL" and not gone.asked:
        return "the worker was killed (SIGKILL); the system does that when memory runs out"
    return f"the worker died ({_reason(gone)}); {child.log.name} in the service's log folder tells more"
