"""Jobs, events and results on disk: what was accepted is not lost.

One SQLite connection in one process; when a method returns, its change is on disk. A lock file keeps a second
server out of the folder.

An artist is known by the public key, here `owner`; the server knows a job by its `number`, for two artists
may use one id. Methods that change something raise Storage if the disk does not take it; nothing has changed then.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from backend.errors import UserError
from backend.service import database
from backend.service.executor import Result
from backend.service.results import FOLDER as ASSETS
from backend.service.results import Results
from shared.errors import Conflict, NotFinished, TooMuch, UnknownJob
from shared.limits import JOBS_UNFINISHED, LISTED_EVENTS, SEEDS
from shared.messages import Event, Generation, JobState, Reason
from shared.records import from_json, to_json
from shared.states import FINAL, Change, IllegalChange, State, after

DATABASE, LOCK, WORK = "jobs.sqlite", "lock", "work"


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


class Store:
    """The folder of one server. results: the files of its jobs. clock: the time shown to people, seconds since 1970."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Open or make the folder. Raises UserError if it is in use, of a newer program, damaged or unwritable."""
        self.folder = folder
        self._clock = clock
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what artists ask for is nobody else's business
            for name in (ASSETS, WORK):
                (folder / name).mkdir(exist_ok=True)
            self._lock = FileLock(folder / LOCK)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"another backend uses {folder}; stop it, or name another folder with --home") from error
        except OSError as error:
            raise UserError(f"cannot write {folder} ({error.strerror}); name another folder with --home") from error
        try:
            self._database = database.opened(folder / DATABASE)
            self.results = Results(self._database, folder)
        except UserError:
            self._lock.release()
            raise

    def close(self) -> None:
        self._database.close()
        self._lock.release()

    def change(self) -> AbstractContextManager[None]:
        """A transaction: all of the changes inside, or none."""
        return database.transaction(self._database)

    # --- what artists ask ---

    def submit(self, owner: str, jobs: Sequence[str], request: Generation, warnings: Sequence[str]) -> list[JobState]:
        """Add those of the jobs that are not there, number i with the seed plus i; how all of them stand then.

        Raises Conflict if an id stands for another request, and TooMuch if the artist has too many unfinished.
        """
        wanted = {job: replace(request, seed=(request.seed + i) % SEEDS) for i, job in enumerate(jobs)}
        with self.change():
            there = {job: self._find(owner, job) for job in jobs}
            for job, row in there.items():
                if row and row["state"] != State.DELETED and _request(row) != wanted[job]:
                    raise Conflict(f"job {job} is there with another request")
            new = [job for job in jobs if there[job] is None]
            if new and self._unfinished(owner) + len(new) > JOBS_UNFINISHED:
                raise TooMuch(f"{JOBS_UNFINISHED} jobs wait or run already")
            for job in new:
                self._database.execute(
                    "INSERT INTO jobs (owner, id, batch, request, warnings, state, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (owner, job, jobs[0], _json(to_json(wanted[job])), _json(warnings), State.QUEUED, self._clock()),
                )
                self._log(owner, job, State.QUEUED, 0)
        return [self.state(owner, job) for job in jobs]

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

    def events(self, owner: str, cursor: int) -> list[Event]:
        """The artist's next events after the one numbered `cursor`."""
        rows = self._database.execute(
            "SELECT seq, job, state, attempt, at FROM events WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?",
            (owner, cursor, LISTED_EVENTS),
        )
        return [Event(**dict(row)) for row in rows]

    def last_event(self, owner: str) -> int:
        """The number of the artist's last event, or 0."""
        (last,) = self._database.execute("SELECT max(seq) FROM events WHERE owner = ?", (owner,)).fetchone()
        return last or 0

    def cancel(self, owner: str, job: str) -> Row:
        """Note that the artist wants the job to end, and return it as it is then. Raises UnknownJob."""
        row = self._apply(self._known(owner, job)["number"], Change.CANCEL)
        self._clear_work(row)
        return row

    def acknowledge(self, owner: str, job: str) -> None:
        """Note that the artist has the results. Raises UnknownJob."""
        number = self._known(owner, job)["number"]
        with self.change():
            self._database.execute("UPDATE jobs SET acknowledged = 1 WHERE number = ?", (number,))

    def delete(self, owner: str, job: str) -> None:
        """Forget a finished job, but for its id. Raises UnknownJob and NotFinished."""
        number = self._known(owner, job)["number"]
        with self.change():
            try:
                row = self._changed(number, Change.DELETE)
            except IllegalChange as error:
                raise NotFinished(f"job {job} is {error.state}") from error
            self._database.execute(
                "UPDATE jobs SET request = ?, warnings = '[]', reason = NULL WHERE number = ?",
                (_json(to_json(Generation(prompt=""))), row.number),
            )
        self.results.drop([row.number])

    # --- what the server does ---

    def recover(self) -> None:
        """After a start: what ran when the last server ended waits again, and nobody's files are removed."""
        ran = self._database.execute("SELECT number FROM jobs WHERE state IN ('running', 'cancelling')").fetchall()
        for row in ran:
            self.give_back(row["number"])
        queued = self._database.execute("SELECT number FROM jobs WHERE state = 'queued'")
        waiting = {str(row["number"]) for row in queued}
        with database.storage():
            self.results.remove_strays()
            for path in (self.folder / WORK).iterdir():
                if path.name not in waiting:
                    shutil.rmtree(path, ignore_errors=True)

    def next_queued(self, models: Collection[str] | None = None) -> Row | None:
        """The first job of the artist whose last turn is the longest ago: first come, first served, in rounds.

        models: only jobs with one of these.
        """
        row = self._database.execute(
            """
            SELECT min(number) AS number, (SELECT max(turn) FROM jobs AS j WHERE j.owner = jobs.owner) AS last_turn
            FROM jobs WHERE state = 'queued'
            AND (:all OR json_extract(request, '$.model') IN (SELECT value FROM json_each(:models)))
            GROUP BY owner ORDER BY last_turn NULLS FIRST, number LIMIT 1
            """,
            {"all": models is None, "models": _json(sorted(models or ()))},
        ).fetchone()
        return self.row(row["number"]) if row else None

    def models_awaited(self) -> set[str]:
        """The models of the jobs that wait."""
        rows = self._database.execute(
            "SELECT DISTINCT json_extract(request, '$.model') FROM jobs WHERE state = 'queued'"
        )
        return {model for (model,) in rows}

    def row(self, number: int) -> Row:
        row = self._database.execute("SELECT * FROM jobs WHERE number = ?", (number,)).fetchone()
        return Row(
            number,
            row["owner"],
            row["id"],
            State(row["state"]),
            row["attempt"],
            row["crashes"],
            _request(row),
        )

    def start(self, number: int) -> Row:
        """A worker is about to take the job. Raises IllegalChange."""
        with self.change():
            self._database.execute(
                "UPDATE jobs SET attempt = attempt + 1, started = ?,"
                " turn = (SELECT coalesce(max(turn), 0) + 1 FROM jobs) WHERE number = ?",
                (self._clock(), number),
            )
            return self._changed(number, Change.START)

    def finish(self, number: int, results: Sequence[Result], seconds: float, notes: Sequence[str] = ()) -> Row:
        """Take over the results and note that the job is done. Can be called again after Storage.

        seconds: that this attempt took. notes: how it went, if not as planned; the artist sees them with the warnings.
        Raises IllegalChange.
        """
        if self.row(number).state == State.RUNNING:  # and not cancelled meanwhile
            self.results.take(results)
        with self.change():
            row = self._changed(number, Change.FINISH)
            self._database.execute("UPDATE jobs SET seconds = ? WHERE number = ?", (seconds, number))
            if row.state == State.DONE:
                self.results.add(number, results)
                for note in notes:
                    self._database.execute(
                        "UPDATE jobs SET warnings = json_insert(warnings, '$[#]', ?) WHERE number = ?", (note, number)
                    )
        self._clear_work(row)
        return row

    def fail(self, number: int, reason: Reason) -> Row:
        """Raises IllegalChange."""
        with self.change():
            row = self._changed(number, Change.FAIL)
            if row.state == State.FAILED:
                self._database.execute("UPDATE jobs SET reason = ? WHERE number = ?", (_json(to_json(reason)), number))
        self._clear_work(row)
        return row

    def stop(self, number: int) -> Row:
        """The job was cancelled and its device is free. Raises IllegalChange."""
        row = self._apply(number, Change.STOP)
        self._clear_work(row)
        return row

    def interrupt(self, number: int) -> Row:
        """The job's worker died: the job waits again, or is cancelled if that was wanted. Raises IllegalChange."""
        with self.change():
            self._database.execute("UPDATE jobs SET crashes = crashes + 1 WHERE number = ?", (number,))
            row = self._changed(number, Change.INTERRUPT)
        self._clear_work(row)
        return row

    def give_back(self, number: int) -> Row:
        """Whoever had the job is no more, which is not its fault: as after `interrupt`. Raises IllegalChange."""
        row = self._apply(number, Change.INTERRUPT)
        self._clear_work(row)
        return row

    def work_folder(self, number: int) -> Path:
        """Where the job's worker keeps its checkpoints and writes its results."""
        return self.folder / WORK / str(number)

    def durations(self) -> list[tuple[str, str, float]]:
        """Model, preset and seconds of the last jobs that took one attempt and the usual preset, the oldest first."""
        rows = self._database.execute(
            "SELECT request, seconds FROM jobs WHERE state = 'done' AND attempt = 1 ORDER BY number DESC LIMIT 200"
        ).fetchall()
        done = [(_request(row), row["seconds"]) for row in reversed(rows)]
        return [(request.model, request.preset, seconds) for request, seconds in done if _is_usual(request)]

    # --- retention ---

    def aged(self, seconds: Callable[[float, float], float]) -> float:
        """The age of the folder, brought up to date by `seconds` (the age and the clock when it was last noted).

        Finished jobs without one get this age, which retention counts from.
        """
        with self.change():
            last = self._database.execute("SELECT seconds, clock FROM age").fetchone()
            age = seconds(*last) if last else 0.0
            self._database.execute("DELETE FROM age")
            self._database.execute("INSERT INTO age VALUES (?, ?)", (age, self._clock()))
            self._database.execute("UPDATE jobs SET settled = ? WHERE finished > 0 AND settled IS NULL", (age,))
        return age

    def forget_events(self, keep: int) -> None:
        """Remove all but the last `keep` events."""
        with self.change():
            self._database.execute("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", (keep,))

    # --- parts of the above ---

    def _apply(self, number: int, change: Change) -> Row:
        with self.change():
            return self._changed(number, change)

    def _changed(self, number: int, change: Change) -> Row:
        """The job after a change of state, which is logged; inside a transaction. Raises IllegalChange."""
        before = self.row(number)
        state = after(before.state, change)
        if state != before.state:
            finished = self._clock() if state in FINAL else None
            self._database.execute(
                "UPDATE jobs SET state = ?, finished = coalesce(finished, ?) WHERE number = ?",
                (state, finished, number),
            )
            self._log(before.owner, before.id, state, before.attempt)
        return replace(before, state=state)

    def _log(self, owner: str, job: str, state: State, attempt: int) -> None:
        self._database.execute(
            "INSERT INTO events (owner, job, state, attempt, at) VALUES (?, ?, ?, ?, ?)",
            (owner, job, state, attempt, self._clock()),
        )

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

    def _unfinished(self, owner: str) -> int:
        (count,) = self._database.execute(
            "SELECT count(*) FROM jobs WHERE owner = ? AND state IN ('queued', 'running', 'cancelling')", (owner,)
        ).fetchone()
        return int(count)

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
            results=self.results.of(row["number"]),
            acknowledged=bool(row["acknowledged"]),
        )

    def _clear_work(self, row: Row) -> None:
        if row.state in FINAL:
            shutil.rmtree(self.work_folder(row.number), ignore_errors=True)


def _is_usual(request: Generation) -> bool:
    """Whether it leaves everything that takes time to the preset."""
    usual = Generation(request.prompt, request.negative, request.model, request.preset, request.seed)
    return replace(request, cfg=None, level=None, schedule=None) == usual


def _request(row: sqlite3.Row) -> Generation:
    return from_json(Generation, json.loads(row["request"]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
