"""What helps where memory or the disk runs out or numbers are not finite, and the sentence where nothing does."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from backend.errors import DiskFullError, OutOfMemoryError, UnwritableError, UserError
from backend.files import is_full

logger = logging.getLogger(__name__)

_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass(frozen=True)
class Remedies:
    """What helped an optimisation that could not go on as planned.

    views_at_once: how many views are taken at a time, as there is little memory from the start, or from the last
    checkpoint before it ran out; None for all. left_out: views that had no part in their steps because their numbers
    were not finite.
    """

    views_at_once: int | None = None
    left_out: int = 0

    def and_also(self, other: "Remedies") -> "Remedies":
        """What helped two optimisations of one job."""
        at_once = [one.views_at_once for one in (self, other) if one.views_at_once is not None]
        return Remedies(min(at_once, default=None), self.left_out + other.left_out)

    def notes(self) -> list[str]:
        """A sentence for the artist for each."""
        notes = []
        if self.views_at_once is not None:
            notes.append(
                f"there was too little memory for all views of a step: the model saw views {self.views_at_once} at a "
                "time, which takes longer"
            )
        if self.left_out:
            notes.append(f"views left out because their numbers were not finite: {self.left_out}")
        return notes


def fewer_views(error: Exception, views: int) -> int:
    """Half of `views`, to be shown to the model at a time after `error`. Raises it again if that cannot help."""
    if views == 1 or not out_of_memory(error):
        raise error
    logger.warning("memory ran out: going on from the last checkpoint with %d views at a time", views // 2)
    return views // 2


@contextmanager
def trouble(out: Path) -> Iterator[None]:
    """Say in one line that the disk is full or the memory is. What was whole before stays."""
    try:
        yield
    except OSError as error:
        kind = DiskFullError if is_full(error) else UnwritableError
        raise kind(
            f"cannot write into {out} ({error.strerror or error}); make room there, then use --resume"
        ) from error
    except (UserError, MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError):
            raise OutOfMemoryError(
                "the GPU has too little memory for this job; close other programs and use --resume, or begin anew with "
                "--latent-field where the model has latents, or with --device cpu"
            ) from error
        raise OutOfMemoryError(
            "there is too little memory for this job; close other programs and use --resume, or lower --texture"
        ) from error


def out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, says that memory ran out. torch has a type for that on GPUs only."""
    if error is None:
        return False
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    said = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
    return known or said or out_of_memory(error.__cause__)
