"""A post: what sits on a device of the cluster, runs the worker process there, and answers the bridge.

Everything that the bridge asks may be asked again after a lost answer. A post whose bridge is silent for long ends
itself, so that no worker keeps a device for a server that is gone.
"""

import importlib.metadata
import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from filelock import FileLock, Timeout

from backend import program
from backend.home import data_folder
from backend.service.child import Child, heard
from backend.service.cluster import parcels
from backend.service.cluster.parcels import Arrival, Entry
from backend.service.executor import Advanced, Crashed, DeviceState, Finished, Stopped, Task, Update
from backend.service.shelf import Shelf
from backend.service.slot import Patience, Slot

logger = logging.getLogger(__name__)

DESERTED_SECONDS = 60.0
"""A post that nobody asked for so long ends itself. The bridge gives it up earlier."""

_TURN_SECONDS = 0.5
_MODELS_SECONDS = 5.0
_THREADS = "OMP_NUM_THREADS"
_INITIAL = Path("/proc/self/environ")  # as it was before anything in this process changed it
_LOCK, _LOGS, _PREFIX = "lock", "logs", "post-"


@dataclass(frozen=True)
class Standing:
    """How the device is.

    models: name and revision of each that lies on its machine. facts: see `engine`; {} before it is warm.
    """

    state: DeviceState
    trouble: str
    models: frozenset[tuple[str, str]]
    facts: dict[str, Any]


News = Standing | Update


class Post:
    """See the top of the file. kind: "cpu" or "cuda"; a GPU's post sees only that one, as CUDA_VISIBLE_DEVICES says.

    worker: the module that a device runs. end: ends this process.
    """

    def __init__(
        self,
        kind: str,
        worker: str,
        patience: Patience | None = None,
        deserted: float = DESERTED_SECONDS,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self.device = f"{kind}:{os.environ['CUDA_VISIBLE_DEVICES']}" if kind == "cuda" else kind
        posts = data_folder() / "posts"
        self._folder, self._lock = _own_folder(posts)
        self._shelf, self._shelf_due = Shelf(), -math.inf
        self._models: frozenset[tuple[str, str]] = frozenset()
        self._deserted, self._end = deserted, end
        self._heard = time.monotonic()
        self._turn = threading.Event()
        begin = partial(Child, _command(worker), self.device, posts / _LOGS, self._turn.set, heard)
        self._slot = Slot(self.device, begin, patience or Patience())
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waiting: Task | None = None
        self._given: tuple[str, int] | None = None
        self._arrival: Arrival | None = None
        self._outbox = _Outbox()
        self._closing = False
        self._keeper = threading.Thread(target=self._keep, name="keeper")  # what starts workers has to outlive them
        self._keeper.start()

    def introduce(self) -> dict[str, str]:
        """Who this is: the device, and the version of the program on this machine."""
        return {"device": self.device, "version": importlib.metadata.version("dreamtime")}

    def look(self, heard: int, wait: float) -> list[tuple[int, News]]:
        """What is new after the news numbered `heard`, as soon as there is something, or [] after `wait` seconds."""
        self._heard = time.monotonic()
        news = self._outbox.after(heard, wait)
        self._heard = time.monotonic()
        return news

    def prepare(self, job: str) -> None:
        """Make an empty folder for a job."""
        shutil.rmtree(self._of(job), ignore_errors=True)
        self._arrival = Arrival(self._of(job))

    def put(self, path: str, offset: int, data: bytes) -> None:
        """Take a piece of a file of the job that was prepared."""
        assert self._arrival  # noqa: S101 for mypy: it was prepared
        self._arrival.add(path, offset, data)

    def settle(self, job: str) -> dict[str, Entry]:
        """Put what came into its place, and return what is there now."""
        if self._arrival:
            self._arrival.settle()
            self._arrival = None
        return self.files(job)

    def start(self, job: str, attempt: int, request: dict[str, Any], given: bool = False) -> None:
        """Start the job that was prepared, as soon as the worker is warm.

        given: whether what it begins from came with it.
        """
        folder = self._of(job)
        task = Task(job, attempt, request, folder, folder / parcels.GIVEN if given else None)
        self._order(partial(self._take, task))

    def cancel(self, job: str, attempt: int) -> None:
        """Have the task end."""
        self._order(partial(self._cancel, (job, attempt)))

    def files(self, job: str) -> dict[str, Entry]:
        """What lies in the folder of a job."""
        return parcels.listed(self._of(job))

    def piece(self, job: str, entry: Entry, offset: int) -> bytes | None:
        """See `parcels.piece`."""
        return parcels.piece(self._of(job), entry, offset)

    def forget(self, job: str) -> None:
        """Remove the folder of a job."""
        shutil.rmtree(self._of(job), ignore_errors=True)

    def close(self) -> None:
        """End the worker, and this post."""
        self._closing = True
        self._turn.set()
        self._keeper.join()

    def _of(self, job: str) -> Path:
        return self._folder / job

    def _order(self, order: Callable[[], None]) -> None:
        """Have the keeper do something: the slot is its alone."""
        self._orders.put(order)
        self._turn.set()

    # --- the keeper's thread ---

    def _keep(self) -> None:
        try:
            while not self._closing:
                self._turn.wait(_TURN_SECONDS)
                self._turn.clear()
                self._work(time.monotonic())
                if time.monotonic() - self._heard > self._deserted:
                    logger.error("nobody has asked for %.0f s; this post ends", self._deserted)
                    break
        finally:
            self._slot.close()
            self._lock.release()
            shutil.rmtree(self._folder, ignore_errors=True)
            if not self._closing:  # nobody would miss the thread
                self._end(1)

    def _work(self, now: float) -> None:
        while True:
            try:
                self._orders.get_nowait()()
            except Empty:
                break
        for update in self._slot.poll(now):
            self._outbox.add(self._relative(update) if isinstance(update, Finished) else update)
        if self._waiting and self._slot.state == "idle":
            task, self._waiting = self._waiting, None
            self._slot.start(task)
        elif self._waiting and self._slot.state == "broken":
            task, self._waiting = self._waiting, None
            self._outbox.add(Crashed(task.job, task.attempt, "broken", self._slot.trouble))
        if now >= self._shelf_due:
            self._models = frozenset((model.name, model.revision) for model in self._shelf.models())
            self._shelf_due = now + _MODELS_SECONDS
        self._outbox.stand(Standing(self._slot.state, self._slot.trouble, self._models, self._slot.facts))

    def _relative(self, finished: Finished) -> Finished:
        """With paths that mean something on other machines."""
        folder = self._of(finished.job)
        results = (replace(result, path=result.path.relative_to(folder)) for result in finished.results)
        return replace(finished, results=tuple(results))

    def _take(self, task: Task) -> None:
        if self._given != (task.job, task.attempt):  # and not asked for again
            self._given, self._waiting = (task.job, task.attempt), task

    def _cancel(self, whose: tuple[str, int]) -> None:
        if self._waiting and whose == (self._waiting.job, self._waiting.attempt):
            self._waiting = None
            self._outbox.add(Stopped(*whose))
        elif (task := self._slot.task) and whose == (task.job, task.attempt):
            self._slot.cancel()
            self._turn.set()  # the next poll notes the time


class _Outbox:
    """News that the bridge has not heard of for certain. Of progress, and of the standing, only the latest waits."""

    def __init__(self) -> None:
        self._news: deque[tuple[int, News]] = deque()
        self._last = 0
        self._standing: Standing | None = None
        self._changed = threading.Condition()

    def stand(self, standing: Standing) -> None:
        if standing != self._standing:
            self._standing = standing
            self.add(standing)

    def add(self, news: News) -> None:
        with self._changed:
            before = self._news[-1][1] if self._news else None
            if isinstance(news, Standing) and isinstance(before, Standing):
                self._news.pop()
            elif isinstance(news, Advanced) and isinstance(before, Advanced) and _whose(news) == _whose(before):
                self._news.pop()
                news = replace(news, preview=news.preview or before.preview, coarse=news.coarse or before.coarse)
            self._last += 1
            self._news.append((self._last, news))
            self._changed.notify_all()

    def after(self, heard: int, wait: float) -> list[tuple[int, News]]:
        with self._changed:
            while self._news and self._news[0][0] <= heard:
                self._news.popleft()
            self._changed.wait_for(lambda: self._news, wait)
            return list(self._news)


def _whose(update: Advanced) -> tuple[str, int]:
    return update.job, update.attempt


def _command(worker: str) -> tuple[str, ...]:
    """What runs a worker on this machine, with as many threads as its owner says, not one, as Ray likes it."""
    unset = () if f"\0{_THREADS}=" in _INITIAL.read_text("utf-8", "replace") else ("env", "-u", _THREADS)
    return (*unset, *program.command(worker))


def _own_folder(parent: Path) -> tuple[Path, FileLock]:
    """A new folder below `parent`, with its lock; those of posts that were killed are removed."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(parent / _LOCK):
        for path in parent.glob(f"{_PREFIX}*"):
            lock = FileLock(path / _LOCK)
            with suppress(Timeout), lock.acquire(timeout=0):
                shutil.rmtree(path, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    return folder, lock
