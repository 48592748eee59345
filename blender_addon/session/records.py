"""Jobs as files: one for each, so that several Blenders can share a folder, whole or not at all."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..shared.jobs import JOB_ID, Generation
from ..shared.records import Record, checked, from_json, required, to_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note(Record):
    """What this machine remembers of a job, beside what the backend does.

    batch: the id of the first variation of its request. backend: which one has it, by `Pairing`'s server key in
    hexadecimal. sent: whether the backend acknowledged it. imported: whether its object was put into a scene.
    """

    job: str = checked(JOB_ID)
    batch: str = checked(JOB_ID)
    request: Generation = required()
    backend: str = required()
    created: float = required()
    sent: bool = False
    imported: bool = False


class Notes:
    """The notes in a folder. Methods raise OSError where the disk does not do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, note: Note) -> None:
        """Write a note, or the new state of one; it is on the disk afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(note.job)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(to_json(note), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def forget(self, job: str) -> None:
        self._path(job).unlink(missing_ok=True)

    def all(self) -> Iterator[Note]:
        """All notes that can be read, in no order."""
        for path in self._folder.glob("*.json"):
            try:
                yield from_json(Note, json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, RecursionError) as error:
                logger.warning("the note %s cannot be read: %s", path.name, error)

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}.json"
