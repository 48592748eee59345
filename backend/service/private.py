"""Files that only their owner can open: keys.

Windows keeps a user's folders from other users by itself and has no such modes, so they are checked elsewhere only.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.errors import UserError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def folder(path: Path) -> Path:
    """Make a folder that only its owner can enter. Raises UserError if it cannot be, or if others can enter it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check(path, path.stat())
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def check(path: Path, found: os.stat_result) -> None:
    """Raise UserError if others than the owner can do anything with a file or folder, given what stat found."""
    if os.name == "posix" and found.st_mode & _OTHERS:
        mode = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise UserError(f"others can open {path}, which guards the keys; run: chmod {mode} '{path}'")


def read(path: Path) -> bytes:
    """The content. Raises UserError if others can open the file, and OSError."""
    with path.open("rb") as file:
        check(path, os.fstat(file.fileno()))
        return file.read()


def create(path: Path, data: bytes, modified: float | None = None) -> None:
    """Write a new file whole. modified: its time of last change, in seconds since 1970; now, if left out.

    Raises FileExistsError if it is there, even if another process makes it meanwhile, and UserError.
    """
    with _written(path, data, modified) as partial:
        os.link(partial, path)  # unlike renaming, this never replaces a file


def replace(path: Path, data: bytes, modified: float | None = None) -> None:
    """Write a file whole, new or not. Raises UserError; then it is as it was."""
    with _written(path, data, modified) as partial:
        partial.replace(path)


def remove(path: Path) -> None:
    """Delete a file for good: not even a power cut brings it back. Raises FileNotFoundError and UserError."""
    try:
        path.unlink()
        _sync(path.parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def _written(path: Path, data: bytes, modified: float | None) -> Iterator[Path]:
    """A file beside `path`, on the disk and closed to others from its first moment. It is gone afterwards."""
    partial = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".partial", dir=folder(path.parent))
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if modified is not None:
            os.utime(partial, (modified, modified))
        yield partial
        _sync(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """See a folder's entries to the disk; Windows does so by itself."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path} ({error.strerror}); set DREAMTIME_HOME to a folder you own")
