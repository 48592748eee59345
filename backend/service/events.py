"""Events: what happened to whose job, in the order in which it did."""

import sqlite3
from collections.abc import Callable

from backend.service import database
from shared.jobs import Event
from shared.limits import LISTED_EVENTS
from shared.states import State


class Events:
    """The events of the jobs in a store. clock: seconds since 1970."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._database = connection
        self._clock = clock

    def log(self, owner: str, job: str, state: State, attempt: int) -> None:
        """Note that the job is in this state now; inside a transaction."""
        self._database.execute(
            "INSERT INTO events (owner, job, state, attempt, at) VALUES (?, ?, ?, ?, ?)",
            (owner, job, state, attempt, self._clock()),
        )

    def after(self, owner: str, cursor: int) -> list[Event]:
        """The artist's next events after the one numbered `cursor`."""
        rows = self._database.execute(
            "SELECT seq, job, state, attempt, at FROM events WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?",
            (owner, cursor, LISTED_EVENTS),
        )
        return [Event(**dict(row)) for row in rows]

    def last(self, owner: str) -> int:
        """The number of the artist's last event, or 0."""
        (last,) = self._database.execute("SELECT max(seq) FROM events WHERE owner = ?", (owner,)).fetchone()
        return last or 0

    def forget(self, keep: int) -> None:
        """Remove all but the last `keep`. Raises Storage if the disk does not take it."""
        with database.transaction(self._database):
            self._database.execute("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", (keep,))
