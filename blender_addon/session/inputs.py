"""What jobs begin from, on this machine: kept until the backend has it, and for asking once more."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..shared.inputs import Start

KEPT_SECONDS = 24 * 3600.0
"""How long an input is kept that no job names."""


class Inputs:
    """The inputs in a folder, by their digests. Methods raise OSError where the disk does not do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, start: Start, content: bytes) -> None:
        """Have these bytes here, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"{start.sha256}.{os.getpid()}.partial"
        try:
            partial.write_bytes(content)
            partial.replace(self._folder / start.sha256)
        finally:
            partial.unlink(missing_ok=True)

    def find(self, start: Start) -> Path | None:
        """Where an input is, if it is here."""
        path = self._folder / start.sha256
        return path if path.is_file() else None

    def sweep(self, needed: Iterable[Start]) -> None:
        """Remove what is not needed any more; another Blender may just have put something there."""
        names = {start.sha256 for start in needed}
        for path in self._folder.glob("*"):
            with suppress(OSError):
                if path.name not in names and time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()
