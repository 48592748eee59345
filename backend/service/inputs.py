"""Inputs: what artists send for jobs to begin from, as files, and the rows that say whose they are.

A row comes before its file, which then grows; only when all of it is there, and is what was announced, may a job
begin from it. Nobody's inputs are shared with anybody, not even the same bytes.
"""

import sqlite3
from pathlib import Path

from backend.files import sha256, to_disk
from backend.service import database
from shared import inputs
from shared.errors import Invalid, Spoilt, TooMuch, UnknownInput
from shared.inputs import BEGINNING_BYTES, Start
from shared.limits import INPUTS, INPUTS_BYTES
from shared.messages import Upload

FOLDER = "inputs"

UNFINISHED_SECONDS = 24 * 3600.0
"""How long what was sent in part is kept."""


class Inputs:
    """The inputs in a store. Methods that change something raise Storage if the disk does not take it."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._database = connection
        self._folder = folder / FOLDER

    def receive(self, owner: str, message: Upload) -> int:
        """Take the bytes that are not there yet; how many there are then.

        Raises Invalid for what can be no input, Spoilt if all are there and are others than announced, TooMuch if
        running jobs need all the room that the artist has.
        """
        row = self._find(owner, message.sha256) or self._announced(owner, message)
        if (row["sort"], row["size"]) != (message.sort, message.size):
            raise Invalid("these bytes were announced as another input", "send it again as it is")
        path = self._path(row)
        with database.storage():
            there = _size(path)
            if row["whole"] and there == message.size:
                self._touch(owner, message.sha256)
                return there
            if row["whole"]:  # somebody removed its file
                self._database.execute("UPDATE inputs SET whole = 0 WHERE number = ?", (row["number"],))
            if there < message.offset + len(message.body) and message.offset <= there:
                with path.open("ab", buffering=0) as file:
                    file.write(message.body[there - message.offset :])
                there = _size(path)
        if there >= message.size:
            self._complete(row, path)
        return there

    def name(self, owner: str, start: Start) -> None:
        """Note that a new job begins from it; inside a transaction. Raises UnknownInput if it is not all there."""
        row = self._find(owner, start.sha256)
        if row is None or not row["whole"] or row["sort"] != start.sort:
            raise UnknownInput(f"the backend has no {start.sort} {start.sha256[:12]} of yours")
        self._touch(owner, start.sha256)

    def path(self, owner: str, start: Start) -> Path | None:
        """Where the artist's input lies."""
        row = self._find(owner, start.sha256)
        return self._path(row) if row and row["whole"] else None

    def settle(self, age: float) -> None:
        """Give those that were used since the last time this age, which retention counts from; inside a transaction."""
        self._database.execute("UPDATE inputs SET settled = ? WHERE settled IS NULL", (age,))

    def drop_older(self, age: float, seconds: float) -> None:
        """Remove those that nobody used for `seconds` and no job needs, and what was left unfinished."""
        rows = self._database.execute(
            "SELECT * FROM inputs WHERE number NOT IN needed_inputs AND (settled < ? OR (NOT whole AND settled < ?))",
            (age - seconds, age - UNFINISHED_SECONDS),
        ).fetchall()
        self._drop(rows)

    def remove_strays(self) -> None:
        """Remove files that no row names: the server died while it removed them."""
        known = {str(row["number"]) for row in self._database.execute("SELECT number FROM inputs")}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink(missing_ok=True)

    def _announced(self, owner: str, message: Upload) -> sqlite3.Row:
        """A row for a new input, after making room for it."""
        try:
            inputs.check_size(message.sort, message.size)
        except ValueError as error:
            raise _invalid(error) from error
        self._make_room(owner, message.size)
        with database.transaction(self._database):
            row: sqlite3.Row = self._database.execute(
                "INSERT INTO inputs (owner, sha256, sort, size, turn)"
                " VALUES (?, ?, ?, ?, (SELECT coalesce(max(turn), 0) + 1 FROM inputs)) RETURNING *",
                (owner, message.sha256, message.sort, message.size),
            ).fetchone()
        return row

    def _make_room(self, owner: str, size: int) -> None:
        """Remove what the artist used least recently and no job needs. Raises TooMuch if that is not enough."""
        rows = self._database.execute(
            "SELECT *, number IN needed_inputs AS needed FROM inputs WHERE owner = ? ORDER BY turn",
            (owner,),
        ).fetchall()
        count, total, gone = len(rows) + 1, sum(row["size"] for row in rows) + size, []
        for row in rows:
            if count <= INPUTS and total <= INPUTS_BYTES:
                break
            if not row["needed"]:
                gone.append(row)
                count, total = count - 1, total - row["size"]
        if count > INPUTS or total > INPUTS_BYTES:
            raise TooMuch("the jobs that wait need all the room that you have for inputs")
        self._drop(gone)

    def _complete(self, row: sqlite3.Row, path: Path) -> None:
        """All bytes are there: let jobs begin from them, or forget them, if they are not what was announced."""
        with database.storage():
            with path.open("rb") as file:
                beginning = file.read(BEGINNING_BYTES)
            digest = sha256(path)
        if digest != row["sha256"] or _size(path) != row["size"]:
            self._drop([row])
            raise Spoilt(f"the {row['sort']} arrived with other bytes than announced")
        try:
            inputs.check(row["sort"], beginning, row["size"])
        except ValueError as error:
            self._drop([row])
            raise _invalid(error) from error
        with database.storage():
            to_disk(path)
            to_disk(self._folder)
        with database.transaction(self._database):
            self._database.execute("UPDATE inputs SET whole = 1 WHERE number = ?", (row["number"],))

    def _touch(self, owner: str, sha256: str) -> None:
        self._database.execute(
            "UPDATE inputs SET turn = (SELECT max(turn) + 1 FROM inputs), settled = NULL"
            " WHERE owner = ? AND sha256 = ?",
            (owner, sha256),
        )

    def _drop(self, rows: list[sqlite3.Row]) -> None:
        with database.transaction(self._database):
            self._database.executemany("DELETE FROM inputs WHERE number = ?", [(row["number"],) for row in rows])
        with database.storage():
            for row in rows:
                self._path(row).unlink(missing_ok=True)

    def _find(self, owner: str, sha256: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM inputs WHERE owner = ? AND sha256 = ?", (owner, sha256)
        ).fetchone()
        return found

    def _path(self, row: sqlite3.Row) -> Path:
        return self._folder / str(row["number"])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _invalid(error: ValueError) -> Invalid:
    return Invalid(f"this is no input that a job can begin from: {error}", "choose another mesh or picture")
