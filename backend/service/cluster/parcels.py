"""The files of a task on their way between two machines: what there is, piece by piece, and put in place whole.

Paths are relative to the task's folder, with slashes. Names that end in `.partial` are being written, and stay.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.files import to_disk
from shared.limits import MIB

PIECE_BYTES = MIB
"""What goes over the network in one message."""

GIVEN = "given"
"""The file that a task begins from, among the others."""

_PARTIAL = ".partial"
_ARRIVING = f"arriving{_PARTIAL}"


@dataclass(frozen=True)
class Entry:
    """A file. size: bytes. changed: nanoseconds since 1970, by the clock of its machine."""

    path: str
    size: int
    changed: int


def listed(folder: Path) -> dict[str, Entry]:
    """The files in `folder` by their path; none if it is not there."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.endswith(_PARTIAL)]
        for name in names:
            path = Path(parent, name)
            if not name.endswith(_PARTIAL):
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    entry = _entry(path.relative_to(folder).as_posix(), path.stat())
                    found[entry.path] = entry
    return found


def piece(folder: Path, entry: Entry, offset: int) -> bytes | None:
    """The bytes of a file from `offset` on, at most PIECE_BYTES; None if it is no longer what `entry` says."""
    with suppress(FileNotFoundError), inside(folder, entry.path).open("rb") as file:
        if _entry(entry.path, os.fstat(file.fileno())) == entry:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    return None


def enclose(given: Path, folder: Path) -> None:
    """Lay what a task begins from into its folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(given, folder / GIVEN)


class Arrival:
    """Files that arrive beside those of a folder, until they take their places together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staging = folder / _ARRIVING
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True)

    def add(self, path: str, offset: int, data: bytes) -> None:
        """Take a piece; again, if it came twice. Raises ValueError for a path that leads elsewhere, and OSError."""
        place = inside(self._staging, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("r+b") if offset else place.open("wb") as file:
            file.seek(offset)
            file.write(data)

    def settle(self, outdated: Iterable[str] = ()) -> None:
        """Put everything that came into its place, on disk, and then remove the files that are `outdated`.

        A folder that is new, as each checkpoint is, appears whole.
        """
        for path in sorted(self._staging.rglob("*"), reverse=True):
            to_disk(path)
        for path in sorted(self._staging.iterdir()):
            _move(path, self._folder / path.name)
        to_disk(self._folder)
        self._staging.rmdir()
        for name in outdated:
            _remove(self._folder, name)


def _entry(path: str, found: os.stat_result) -> Entry:
    return Entry(path, found.st_size, found.st_mtime_ns)


def inside(folder: Path, path: str) -> Path:
    """Raises ValueError if `path` leads out of `folder`."""
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or PurePosixPath(path).is_absolute():
        raise ValueError(f"{path!r} leads out of the task's folder")
    return folder.joinpath(*parts)


def _move(source: Path, target: Path) -> None:
    """Rename a file, or what is in a folder, into a place where there may be older ones."""
    if not (source.is_dir() and target.is_dir()):
        source.replace(target)
        return
    for path in sorted(source.iterdir()):
        _move(path, target / path.name)
    to_disk(target)
    source.rmdir()


def _remove(folder: Path, path: str) -> None:
    place = inside(folder, path)
    place.unlink(missing_ok=True)
    with suppress(OSError):  # there are others in it
        for parent in place.relative_to(folder).parents[:-1]:
            (folder / parent).rmdir()
