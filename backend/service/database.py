"""The database's tables, how it is opened, and what its errors mean."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.errors import UserError
from shared.errors import Storage

SCHEMA = 3

_TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    batch TEXT NOT NULL,
    request TEXT NOT NULL,
    warnings TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    turn INTEGER,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    seconds REAL,
    settled REAL,
    reason TEXT,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, id)
);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_turn ON jobs (owner, turn);
CREATE TABLE results (
    job INTEGER NOT NULL REFERENCES jobs (number),
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (job, name)
);
CREATE INDEX results_by_file ON results (sha256);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    job TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX events_by_owner ON events (owner, seq);
CREATE TABLE age (seconds REAL NOT NULL, clock REAL NOT NULL);
"""

_INPUTS = """
CREATE TABLE inputs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    sort TEXT NOT NULL,
    size INTEGER NOT NULL,
    whole INTEGER NOT NULL DEFAULT 0,
    turn INTEGER NOT NULL,
    settled REAL,
    UNIQUE (owner, sha256)
);
CREATE VIEW needed_inputs AS
    SELECT inputs.number FROM inputs
    JOIN jobs ON jobs.owner = inputs.owner AND json_extract(jobs.request, '$.start.sha256') = inputs.sha256
    WHERE jobs.state IN ('queued', 'running', 'cancelling');
"""

_WAITING = """
ALTER TABLE jobs ADD COLUMN model TEXT GENERATED ALWAYS AS (json_extract(request, '$.model')) VIRTUAL;
CREATE INDEX jobs_waiting ON jobs (owner, model, number) WHERE state = 'queued';
"""

_STEPS = (_TABLES, _INPUTS, _WAITING)
"""What each schema has more than the one before it."""


def opened(path: Path) -> sqlite3.Connection:
    """The one connection to the database at `path`, made if it is not there.

    Raises UserError if it cannot be read or written, is damaged, or was written by a newer program.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise UserError(f"cannot open {path} ({error}); name another folder with --home") from error
    try:
        connection.row_factory = sqlite3.Row
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        if schema > SCHEMA:
            raise UserError(f"{path} was written by a newer DreamTime; update this one, or name another --home")
        connection.execute("PRAGMA journal_mode = WAL")
        # An answer says "accepted" only when the job would survive a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        if schema < SCHEMA:
            connection.executescript(f"BEGIN; {''.join(_STEPS[schema:])} PRAGMA user_version = {SCHEMA}; COMMIT;")
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
    except sqlite3.Error as error:
        connection.close()
        raise UserError(f"cannot use {path} ({error}); put back a copy, or move it away to begin anew") from error
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All changes inside are on disk afterwards, or none is. Raises Storage if they cannot be written."""
    with storage():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite ends it by itself when the disk fails
                connection.execute("ROLLBACK")
            raise


_FULL = "disk is full"
"""What SQLite says then, among other words."""


@contextmanager
def storage() -> Iterator[None]:
    """Say that the disk is at fault when it is. Raises Storage."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _FULL in str(error):
            raise Storage("the backend's disk is full") from error
        raise Storage(f"the backend cannot write its jobs ({error})") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Storage("the backend's disk is full") from error
        raise Storage(
            f"the backend cannot write its folder ({error.strerror or error})", "see to its permissions"
        ) from error
