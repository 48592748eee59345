"""What the client thread is told to do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..shared import limits
from ..shared.jobs import Generation
from .records import Note


@dataclass(frozen=True)
class Generate:
    """Make these jobs of one request. given: the bytes that its start names, if they are not here already."""

    jobs: tuple[str, ...]
    request: Generation
    created: float
    given: bytes = b""


@dataclass(frozen=True)
class Cancel:
    job: str


@dataclass(frozen=True)
class Delete:
    """Forget a job here and on the backend; one that still runs is cancelled first."""

    job: str


@dataclass(frozen=True)
class Fetch:
    """Bring a job's results here (again)."""

    job: str


@dataclass(frozen=True)
class MarkImported:
    job: str


Command = Generate | Cancel | Delete | Fetch | MarkImported


def noted(command: Generate, backend: str) -> Iterator[Note]:
    """What is to be remembered of it, a note for each variation."""
    for index, job in enumerate(command.jobs):
        request = replace(command.request, seed=(command.request.seed + index) % limits.SEEDS)
        yield Note(job, command.jobs[0], request, backend, command.created)
