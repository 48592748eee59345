"""What is kept of finished jobs and of inputs, and for how long.

The age of a result is counted in time that the backend has seen pass, not by the calendar: a clock that is set
forward by years must not remove everything.
"""

from collections.abc import Callable, Iterable

from backend.service.results import Kept
from backend.service.store import Store
from shared.errors import Storage
from shared.limits import RETENTION_BYTES, RETENTION_SECONDS

SWEEP_SECONDS = 600.0
EVENTS_KEPT = 100_000

_LONGEST_PAUSE = 7 * 24 * 3600.0
"""What a stop between two starts counts at most."""


def outdated(kept: Iterable[Kept], age: float, seconds: float, size: int) -> list[int]:
    """The jobs whose results go: those older than `seconds`, and then, while there are more than `size` bytes, the
    oldest, those that were fetched first."""
    kept = list(kept)
    old = [job for job in kept if age - job.settled > seconds]
    rest = [job for job in kept if age - job.settled <= seconds]
    over = sum(job.size for job in rest) - size
    gone = list(old)
    for job in sorted(rest, key=lambda job: (not job.acknowledged, job.settled, job.number)):
        if over <= 0:
            break
        gone.append(job)
        over -= job.size
    return [job.number for job in gone]


class Retention:
    """Removes what is outdated, every SWEEP_SECONDS. clock: seconds since 1970."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        seconds: float = RETENTION_SECONDS,
        size: int = RETENTION_BYTES,
    ) -> None:
        self._store, self._clock = store, clock
        self._seconds, self._size = seconds, size
        self._last: float | None = None

    def tick(self, now: float) -> None:
        """Sweep if it is time. now: monotonic seconds."""
        if self._last is not None and now - self._last < SWEEP_SECONDS:
            return
        passed = None if self._last is None else now - self._last
        self._last = now
        try:
            age = self._store.aged(lambda age, clock: age + (self._pause(clock) if passed is None else passed))
            self._store.results.drop(outdated(self._store.results.kept(), age, self._seconds, self._size))
            self._store.inputs.drop_older(age, self._seconds)
            self._store.events.forget(EVENTS_KEPT)
        except Storage:  # the dispatcher says so, and the next sweep may do better
            return

    def _pause(self, clock: float) -> float:
        """How long the backend was stopped, as far as the calendar can be trusted."""
        return min(max(self._clock() - clock, 0.0), _LONGEST_PAUSE)
