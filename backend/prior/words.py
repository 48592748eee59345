"""The words of the model in a folder. Nothing here imports torch."""

from functools import lru_cache
from pathlib import Path

from backend.prior.lexicon import FILE, Lexicon

Stamp = tuple[int, int, int] | None


def of(folder: Path) -> Lexicon | None:
    """The words of the model in `folder`, or None if it has none: a model that was taught on more.

    Raises UserError for damaged ones. They are read again only when they have changed.
    """
    return _read(folder, stamp(folder))


def stamp(folder: Path) -> Stamp:
    """Another one after each change of the words in `folder`."""
    try:
        found = (folder / FILE).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=64)
def _read(folder: Path, stamp: Stamp) -> Lexicon | None:
    return Lexicon.load(folder) if stamp else None
