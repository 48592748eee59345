"""Between the store and the executor: who runs next, and what became of it.

What a worker reports is applied to the store before anything else happens. Where the disk does not take it, the
report waits and is tried again; nothing new is started meanwhile.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from backend.service.database import storage
from backend.service.executor import Advanced, Crashed, Executor, Failed, Finished, Lost, Stopped, Task, Update
from backend.service.jobs import Row
from backend.service.live import LiveBoard
from backend.service.store import Store
from shared.errors import Storage
from shared.jobs import Reason
from shared.limits import LISTED_DEVICES, TEXT_CHARACTERS
from shared.records import to_json
from shared.states import IllegalChange, State

logger = logging.getLogger(__name__)

CRASHES_FORGIVEN = 2
"""How often a job whose worker died goes on from its checkpoint before it fails."""

AT_ONCE = 4
"""Changes of state in one tick: each goes to the disk, and meanwhile nobody gets an answer."""

RETRY_SECONDS = 1.0
"""Pause before a disk that refused is tried again."""


@dataclass
class _Run:
    attempt: int
    begun: float
    device: str


class Dispatcher:
    """Starts jobs, applies what becomes of them, and keeps the board of running ones.

    admits: whether an artist is still paired. Times are monotonic seconds.
    """

    def __init__(self, store: Store, executor: Executor, admits: Callable[[str], bool]) -> None:
        self.live = LiveBoard()
        self.trouble: Storage | None = None
        self._store = store
        self._executor = executor
        self.admits = admits
        self._running: dict[int, _Run] = {}
        self._unapplied: deque[Update] = deque()
        self._not_before = 0.0
        self._more = False

    def cancel(self, row: Row) -> None:
        """Free the job's device, if it has one."""
        if row.state == State.CANCELLING:
            self._executor.cancel(str(row.number))

    def tick(self, now: float) -> bool:
        """Apply what workers report and start what can start, a part at a time.

        Returns whether a job changed its state.
        """
        for update in self._executor.poll(now):
            if isinstance(update, Advanced):
                self._show(update)
            else:
                self._unapplied.append(update)
        changes = 0
        if now < self._not_before:
            return False
        try:
            with storage():
                for _ in islice(self._changes(now), AT_ONCE):
                    changes += 1
            self.trouble, self._more = None, changes == AT_ONCE
        except Storage as error:
            logger.error("%s", error)
            self.trouble, self._not_before = error, now + RETRY_SECONDS
        return changes > 0

    def devices(self) -> tuple[str, ...]:
        """What computes, and whether it is busy."""
        return _told([f"{device.name}: {device.state}" for device in self._executor.devices()])

    def troubles(self) -> tuple[str, ...]:
        """What keeps jobs from being done, one sentence each."""
        found = [f"{device.name}: {device.trouble}" for device in self._executor.devices() if device.trouble]
        found += [
            f'no machine has the model "{model}", which jobs wait for; dreamtime models add brings it to one'
            for model in sorted(self._models_missed())
        ]
        if self.trouble:
            found.insert(0, str(self.trouble))
        return _told(found)

    def device_of(self, number: int) -> str:
        """Where a job runs, or ""."""
        run = self._running.get(number)
        return run.device if run else ""

    def due(self) -> float | None:
        """When `tick` should be called again even if no worker reports."""
        if self.trouble:
            return self._not_before
        return -math.inf if self._more else None

    def _show(self, update: Advanced) -> None:
        number = int(update.job)
        run = self._running.get(number)
        if run and run.attempt == update.attempt:
            row = self._store.jobs.row(number)
            if row.state == State.RUNNING:
                self.live.show(number, row.owner, row.id, update, run.device)

    def _apply(self, update: Update, now: float) -> None:
        number = int(update.job)
        run = self._running.get(number)
        if run is None or run.attempt != update.attempt:  # of a worker that is no longer the job's
            return
        row = self._store.jobs.row(number)
        try:
            if isinstance(update, Finished):
                self._store.finish(number, update.results, now - run.begun, update.report.get("notes", ()))
            elif isinstance(update, Failed):
                self._store.fail(number, _reason(update.code, update.sentence))
            elif isinstance(update, Stopped):
                self._store.stop(number)
            elif isinstance(update, Crashed):
                self._crashed(row, update)
            elif isinstance(update, Lost):
                logger.warning("job %d: %s", number, update.reason)
                self._store.give_back(number)
        except IllegalChange:
            logger.exception("job %d", number)
        del self._running[number]
        self.live.remove(number)

    def _crashed(self, row: Row, update: Crashed) -> None:
        logger.warning("job %d: %s", row.number, update.sentence)
        if row.crashes < CRASHES_FORGIVEN:
            self._store.interrupt(row.number)
        else:
            self._store.fail(row.number, _reason("crashed", update.sentence))

    def _changes(self, now: float) -> Iterator[None]:
        """Apply what workers reported, then start what can start; a step for each change of a job's state."""
        while self._unapplied:
            self._apply(self._unapplied[0], now)
            self._unapplied.popleft()
            yield
        jobless: set[frozenset[str] | None] = set()
        for device in self._executor.free():
            models = self._executor.models(device)
            if models not in jobless and self._start_next(device, models, now):
                yield
            else:
                jobless.add(models)

    def _start_next(self, device: str, models: frozenset[str] | None, now: float) -> bool:
        row = self._store.jobs.next_queued(models)
        if row is None:
            return False
        if not self.admits(row.owner):
            self._store.fail(row.number, _reason("revoked", "this artist's key was revoked"))
            return True
        start = row.request.start
        given = self._store.inputs.path(row.owner, start) if start else None
        if start and given is None:
            self._store.fail(row.number, _reason("input_gone", "what it begins from is not on the backend any more"))
            return True
        row = self._store.start(row.number)
        self._running[row.number] = _Run(row.attempt, now, device)
        task = Task(str(row.number), row.attempt, to_json(row.request), self._store.work_folder(row.number), given)
        self._executor.start(device, task)
        return True

    def _models_missed(self) -> set[str]:
        """The models of waiting jobs that no device has."""
        known = [device.name for device in self._executor.devices() if device.state in ("idle", "busy")]
        here = [self._executor.models(name) for name in known]
        if not here or None in here:
            return set()
        return self._store.jobs.models_awaited().difference(*(models for models in here if models))


def _told(sentences: Sequence[str]) -> tuple[str, ...]:
    """As many as an answer holds; the last one counts the others."""
    if len(sentences) > LISTED_DEVICES:
        kept = LISTED_DEVICES - 1
        sentences = [*sentences[:kept], f"and {len(sentences) - kept} more"]
    return tuple(sentence[:TEXT_CHARACTERS] for sentence in sentences)


_REMEDIES = {
    "out_of_memory": "take a smaller preset or model, a latent field where offered, or close other programs there",
    "disk_full": "make room on the backend's disk and generate it again",
    "unwritable": "see to the permissions of the backend's folder",
    "bad_request": "change the request",
    "not_finite": "try another seed or a lower cfg",
    "no_result": "try another seed or more steps",
    "crashed": "generate it again; if it happens again, the backend's log says why",
    "revoked": "pair again",
    "input_gone": "generate it again, which sends it again",
}


def _reason(code: str, sentence: str) -> Reason:
    remedy = _REMEDIES.get(code, "generate it again; the backend's log says more")
    return Reason(code, sentence[:TEXT_CHARACTERS], remedy)
