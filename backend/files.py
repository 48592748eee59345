"""Files that are there whole or not at all."""

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
