"""Results: files named by their SHA-256, and the rows that say whose they are.

A file is in place before the row that names it, and is removed when no row does any more.
"""

import errno
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.files import to_disk, write_whole
from backend.service import database
from backend.service.executor import Result
from shared.assets import Asset

FOLDER = "assets"

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links answer."""


@dataclass(frozen=True)
class Kept:
    """A finished job with results. settled: the age of the store when it was finished. size: bytes."""

    number: int
    acknowledged: bool
    settled: float
    size: int


class Results:
    """The results of the jobs in a store. Methods that change something raise Storage if the disk does not take it."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._database = connection
        self._folder = folder / FOLDER

    def take(self, results: Sequence[Result]) -> None:
        """Give files names here, too. They keep their own until the job is done, and can be taken again."""
        with database.storage():
            for result in results:
                self._take(result)
            to_disk(self._folder)

    def add(self, number: int, results: Sequence[Result]) -> None:
        """Note that these files, which were taken, are the job's; inside a transaction."""
        self._database.executemany(
            "INSERT INTO results (job, name, sha256, size) VALUES (?, ?, ?, ?)",
            [(number, result.name, result.sha256, result.size) for result in results],
        )

    def of(self, number: int) -> tuple[Asset, ...]:
        """The results of a job, by name."""
        rows = self._database.execute("SELECT name, sha256, size FROM results WHERE job = ? ORDER BY name", (number,))
        return tuple(Asset(**dict(row)) for row in rows)

    def find(self, owner: str, sha256: str) -> tuple[Path, int] | None:
        """Where a file among an artist's results lies, and its size."""
        row = self._database.execute(
            "SELECT size FROM results JOIN jobs ON number = job WHERE sha256 = ? AND owner = ?", (sha256, owner)
        ).fetchone()
        return (self._folder / sha256, row["size"]) if row else None

    def kept(self) -> list[Kept]:
        """All finished jobs with results whose age is known."""
        rows = self._database.execute(
            "SELECT number, acknowledged, settled, sum(size) AS size FROM jobs JOIN results ON job = number "
            "WHERE settled IS NOT NULL GROUP BY number"
        )
        return [Kept(row["number"], bool(row["acknowledged"]), row["settled"], row["size"]) for row in rows]

    def drop(self, numbers: Sequence[int]) -> None:
        """Remove the results of these jobs, and the files that no other job has."""
        files: set[str] = set()
        with database.transaction(self._database):
            for number in numbers:
                dropped = self._database.execute("DELETE FROM results WHERE job = ? RETURNING sha256", (number,))
                files |= {row["sha256"] for row in dropped}
        for name in files:
            if not self._database.execute("SELECT 1 FROM results WHERE sha256 = ?", (name,)).fetchone():
                (self._folder / name).unlink(missing_ok=True)

    def remove_strays(self) -> None:
        """Remove files that no row names: of jobs whose server died before they were done."""
        named = {row["sha256"] for row in self._database.execute("SELECT sha256 FROM results")}
        for path in self._folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _take(self, result: Result) -> None:
        place = self._folder / result.sha256
        if place.exists():
            return
        try:
            place.hardlink_to(result.path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            write_whole(place, result.path.read_bytes())
