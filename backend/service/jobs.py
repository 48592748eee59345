"""Jobs as they stand on disk, read: what artists see of theirs, and what the server needs to know."""

import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from backend.service.results import Results
from shared.errors import UnknownJob
from shared.jobs import Generation, JobState, Reason
from shared.records import from_json
from shared.states import State


@dataclass(frozen=True)
class Row:
    """A job as the server needs it. crashes: how many of its workers died."""

    number: int
    owner: str
    id: str
    state: State
    attempt: int
    crashes: int
    request: Generation


class Jobs:
    """The jobs in a store. results: their files."""

    def __init__(self, connection: sqlite3.Connection, results: Results) -> None:
        self._database = connection
        self._results = results

    # --- what artists ask ---

    def state(self, owner: str, job: str) -> JobState:
        """Raises UnknownJob."""
        return self._state(self._known(owner, job))

    def listed(self, owner: str, before: int | None) -> Iterator[JobState]:
        """The artist's jobs, the newest first; those with a smaller number than `before` if it is given."""
        rows = self._database.execute(
            "SELECT * FROM jobs WHERE owner = ? AND number < ? AND state != ? ORDER BY number DESC",
            (owner, 2**62 if before is None else before, State.DELETED),
        )
        return map(self._state, rows)

    # --- what the server needs ---

    def number(self, owner: str, job: str) -> int:
        """Raises UnknownJob."""
        return int(self._known(owner, job)["number"])

    def row(self, number: int) -> Row:
        return _row(self._database.execute("SELECT * FROM jobs WHERE number = ?", (number,)).fetchone())

    def find(self, owner: str, job: str) -> Row | None:
        """The artist's job, also one that was deleted."""
        found = self._find(owner, job)
        return _row(found) if found else None

    def unfinished(self, owner: str) -> int:
        """How many of the artist's jobs wait or run."""
        (count,) = self._database.execute(
            "SELECT count(*) FROM jobs WHERE owner = ? AND state IN ('queued', 'running', 'cancelling')", (owner,)
        ).fetchone()
        return int(count)

    def next_queued(self, models: Collection[str] | None = None) -> Row | None:
        """The first job of the artist whose last turn is the longest ago: first come, first served, in rounds.

        models: only jobs with one of these.
        """
        # Asked for every job that starts, perhaps with thousands waiting: the index has all that the rows are asked.
        row = self._database.execute(
            """
            SELECT min(number) AS number, (SELECT max(turn) FROM jobs AS j WHERE j.owner = jobs.owner) AS last_turn
            FROM jobs INDEXED BY jobs_waiting WHERE state = 'queued'
            AND (:all OR model IN (SELECT value FROM json_each(:models)))
            GROUP BY owner ORDER BY last_turn NULLS FIRST, number LIMIT 1
            """,
            {"all": models is None, "models": json.dumps(sorted(models or ()))},
        ).fetchone()
        return self.row(row["number"]) if row else None

    def models_awaited(self) -> set[str]:
        """The models of the jobs that wait."""
        rows = self._database.execute("SELECT DISTINCT model FROM jobs INDEXED BY jobs_waiting WHERE state = 'queued'")
        return {model for (model,) in rows}

    def durations(self) -> list[tuple[str, str, float]]:
        """Model, preset and seconds of the last jobs that took one attempt and the usual preset, the oldest first."""
        rows = self._database.execute(
            "SELECT request, seconds FROM jobs WHERE state = 'done' AND attempt = 1 ORDER BY number DESC LIMIT 200"
        ).fetchall()
        done = [(_request(row), row["seconds"]) for row in reversed(rows)]
        return [(request.model, request.preset, seconds) for request, seconds in done if _is_usual(request)]

    # --- parts of the above ---

    def _find(self, owner: str, job: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM jobs WHERE owner = ? AND id = ?", (owner, job)
        ).fetchone()
        return found

    def _known(self, owner: str, job: str) -> sqlite3.Row:
        row = self._find(owner, job)
        if row is None:
            raise UnknownJob(f"the backend has no job {job} of yours")
        return row

    def _state(self, row: sqlite3.Row) -> JobState:
        ahead = None
        if row["state"] == State.QUEUED:
            (ahead,) = self._database.execute(
                "SELECT count(*) FROM jobs WHERE state = 'queued' AND number < ?", (row["number"],)
            ).fetchone()
        return JobState(
            id=row["id"],
            number=row["number"],
            batch=row["batch"],
            state=row["state"],
            attempt=row["attempt"],
            request=_request(row),
            warnings=tuple(json.loads(row["warnings"])),
            created=row["created"],
            started=row["started"],
            finished=row["finished"],
            ahead=ahead,
            reason=from_json(Reason, json.loads(row["reason"])) if row["reason"] else None,
            results=self._results.of(row["number"]),
            acknowledged=bool(row["acknowledged"]),
        )


def _row(row: sqlite3.Row) -> Row:
    return Row(
        row["number"], row["owner"], row["id"], State(row["state"]), row["attempt"], row["crashes"], _request(row)
    )


def _request(row: sqlite3.Row) -> Generation:
    return from_json(Generation, json.loads(row["request"]))


def _is_usual(request: Generation) -> bool:
    """Whether it leaves everything that takes time to the preset."""
    usual = Generation(request.prompt, request.negative, request.model, request.preset, request.seed)
    return replace(request, cfg=None, level=None, schedule=None) == usual
