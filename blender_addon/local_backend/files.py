"""Files that are moved and deleted although other programs may hold them open for a while."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)


def delete(path: Path) -> None:
    """Delete a file or a folder, which need not exist. What a link points to stays."""
    if path.is_symlink() or path.is_file():
        patiently(path.unlink)
    elif path.exists():
        patiently(lambda: shutil.rmtree(path))


def patiently(change: Callable[[], object]) -> None:
    """Antivirus programs on Windows hold new files open for seconds."""
    for pause in _PAUSES:
        try:
            change()
            return
        except PermissionError:
            time.sleep(pause)
    change()
