"""Jobs, events and results on disk: what was accepted is not lost.

One SQLite connection in one process; when a method returns, its change is on disk. A lock file keeps a second
server out of the folder.

An artist is known by the public key, here `owner`; the server knows a job by its `number`, for two artists
may use one id. Methods that change something raise Storage if the disk does not take it; nothing has changed then.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from backend.errors import UserError
from backend.service import database
from backend.service.events import Events
from backend.service.executor import Result
from backend.service.inputs import FOLDER as INPUTS
from backend.service.inputs import Inputs
from backend.service.jobs import Jobs, Row
from backend.service.results import FOLDER as ASSETS
from backend.service.results import Results
from shared.errors import Conflict, NotFinished, TooMuch
from shared.jobs import Generation, JobState, Reason
from shared.limits import JOBS_UNFINISHED, SEEDS
from shared.records import to_json
from shared.states import FINAL, Change, IllegalChange, State, after

DATABASE, LOCK, WORK = "jobs.sqlite", "lock", "work"


class Store:
    """The folder of one server, and all that changes its jobs.

    jobs: how they stand. events: what happened to them. results: their files. inputs: what they begin from. clock: the
    time shown to people, seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Open or make the folder. Raises UserError if it is in use, of a newer program, damaged or unwritable."""
        self.folder = folder
        self._clock = clock
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what artists ask for is nobody else's business
            for name in (ASSETS, INPUTS, WORK):
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
            self.jobs = Jobs(self._database, self.results)
            self.events = Events(self._database, clock)
            self.inputs = Inputs(self._database, folder)
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

        Raises Conflict if an id stands for another request, TooMuch if the artist has too many unfinished, and
        UnknownInput if what a new job shall begin from is not here.
        """
        wanted = {job: replace(request, seed=(request.seed + i) % SEEDS) for i, job in enumerate(jobs)}
        with self.change():
            there = {job: self.jobs.find(owner, job) for job in jobs}
            for job, row in there.items():
                if row and row.state != State.DELETED and row.request != wanted[job]:
                    raise Conflict(f"job {job} is there with another request")
            new = [job for job in jobs if there[job] is None]
            if new and self.jobs.unfinished(owner) + len(new) > JOBS_UNFINISHED:
                raise TooMuch(f"{JOBS_UNFINISHED} jobs wait or run already")
            if new and request.start:
                self.inputs.name(owner, request.start)
            for job in new:
                self._database.execute(
                    "INSERT INTO jobs (owner, id, batch, request, warnings, state, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (owner, job, jobs[0], _json(to_json(wanted[job])), _json(warnings), State.QUEUED, self._clock()),
                )
                self.events.log(owner, job, State.QUEUED, 0)
        return [self.jobs.state(owner, job) for job in jobs]

    def cancel(self, owner: str, job: str) -> Row:
        """Note that the artist wants the job to end, and return it as it is then. Raises UnknownJob."""
        row = self._apply(self.jobs.number(owner, job), Change.CANCEL)
        self._clear_work(row)
        return row

    def acknowledge(self, owner: str, job: str) -> None:
        """Note that the artist has the results. Raises UnknownJob."""
        number = self.jobs.number(owner, job)
        with self.change():
            self._database.execute("UPDATE jobs SET acknowledged = 1 WHERE number = ?", (number,))

    def delete(self, owner: str, job: str) -> None:
        """Forget a finished job, but for its id. Raises UnknownJob and NotFinished."""
        number = self.jobs.number(owner, job)
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
            self.inputs.remove_strays()
            for path in (self.folder / WORK).iterdir():
                if path.name not in waiting:
                    shutil.rmtree(path, ignore_errors=True)

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
        if self.jobs.row(number).state == State.RUNNING:  # and not cancelled meanwhile
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

    # --- retention ---

    def aged(self, seconds: Callable[[float, float], float]) -> float:
        """The age of the folder, brought up to date by `seconds` (the age and the clock when it was last noted).

        Finished jobs and inputs without one get this age, which retention counts from.
        """
        with self.change():
            last = self._database.execute("SELECT seconds, clock FROM age").fetchone()
            age = seconds(*last) if last else 0.0
            self._database.execute("DELETE FROM age")
            self._database.execute("INSERT INTO age VALUES (?, ?)", (age, self._clock()))
            self._database.execute("UPDATE jobs SET settled = ? WHERE finished > 0 AND settled IS NULL", (age,))
            self.inputs.settle(age)
        return age

    # --- parts of the above ---

    def _apply(self, number: int, change: Change) -> Row:
        with self.change():
            return self._changed(number, change)

    def _changed(self, number: int, change: Change) -> Row:
        """The job after a change of state, which is logged; inside a transaction. Raises IllegalChange."""
        before = self.jobs.row(number)
        state = after(before.state, change)
        if state != before.state:
            finished = self._clock() if state in FINAL else None
            self._database.execute(
                "UPDATE jobs SET state = ?, finished = coalesce(finished, ?) WHERE number = ?",
                (state, finished, number),
            )
            self.events.log(before.owner, before.id, state, before.attempt)
        return replace(before, state=state)

    def _clear_work(self, row: Row) -> None:
        if row.state in FINAL:
            shutil.rmtree(self.work_folder(row.number), ignore_errors=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
