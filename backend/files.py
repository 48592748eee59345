"""Files that are there whole or not at all, and what tells them apart."""

import errno
import hashlib
import os
from pathlib import Path

FREE_BYTES_NEEDED = 200 * 2**20
"""Room that a job's checkpoints and results need."""


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, see it to the disk, and rename it. Raises OSError; then `path` is as it was."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def to_disk(path: Path) -> None:
    """See a file's contents, or a folder's names, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows has no handles for folders, and writes renames through
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Of a file's contents, as hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full(error: OSError) -> bool:
    """Whether `error` says that the disk, or this user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
