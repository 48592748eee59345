"""The words of a model, in whichever of two ways its folder keeps them. Nothing here imports torch."""

from functools import lru_cache
from pathlib import Path

from backend.prior import lexicon, vocabulary
from backend.prior.lexicon import Lexicon
from backend.prior.vocabulary import Vocabulary

Words = Lexicon | Vocabulary
Stamp = tuple[tuple[int, int, int] | None, ...]


def of(folder: Path) -> Words | None:
    """The words of the model in `folder`, or None if it has none: a model that was taught on more.

    Raises UserError for damaged ones. They are read again only when they have changed.
    """
    return _read(folder, stamp(folder))


def stamp(folder: Path) -> Stamp:
    """Another one after each change of the words in `folder`."""
    return tuple(_stamp(folder / name) for name in (lexicon.FILE, vocabulary.FILE))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=64)
def _read(folder: Path, stamp: Stamp) -> Words | None:
    newer, older = stamp
    if newer:
        return Lexicon.load(folder)
    return Vocabulary.load(folder) if older else None
