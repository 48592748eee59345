"""What the check found, as JSON and as a table. Nothing here imports torch."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UnwritableError, UserError
from backend.files import write_whole
from shared.records import Record, at_most, between, checked, each, from_json, required, text, to_json

VERSION = 1
DONE, FAILED, LEFT_OUT = "done", "failed", "left out"

_NAME, _LINE = text(200, 1), text(2000)
_SECONDS = between(0.0, 1e6)
_MANY = 1000


@dataclass(frozen=True)
class Figure(Record):
    """A number and what it counts, as in "3.2 it/s"."""

    value: float = checked(between(-1e15, 1e15))
    what: str = checked(_NAME)


@dataclass(frozen=True)
class Measured(Record):
    """One line of the table. note: what is to be said besides, or why there are no figures."""

    name: str = checked(_NAME)
    figures: tuple[Figure, ...] = checked(at_most(_MANY), ())
    note: str = checked(_LINE, "")


@dataclass(frozen=True)
class Part(Record):
    """What became of a part. line: why, unless it is done."""

    name: str = checked(_NAME)
    state: str = checked((DONE, FAILED, LEFT_OUT).__contains__)
    seconds: float = checked(_SECONDS)
    measured: tuple[Measured, ...] = checked(at_most(_MANY))
    line: str = checked(_LINE, "")


@dataclass(frozen=True)
class Report(Record):
    """The whole. machine: in words. dry: on the CPU with tiny models, so that its figures say nothing.

    budget, seconds: how long it may take, and took. lacking: what was missing, and how to carry it there.
    """

    version: int = checked((VERSION,).__contains__)
    machine: str = checked(_LINE)
    dry: bool = required()
    budget: float = checked(_SECONDS)
    seconds: float = checked(_SECONDS)
    lacking: tuple[str, ...] = checked(each(_LINE, _MANY))
    parts: tuple[Part, ...] = checked(at_most(_MANY))


def write(report: Report, path: Path) -> None:
    """Raises UserError where that cannot be."""
    try:
        write_whole(path, (json.dumps(to_json(report), indent=2) + "\n").encode())
    except OSError as error:
        raise UnwritableError(f"cannot write {path} ({error.strerror}); name another file with --out") from error


def read(path: Path) -> Report:
    """Raises UserError for what is none."""
    try:
        return from_json(Report, json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); name what --gpu-check wrote") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no report of a GPU ({error}); name what --gpu-check wrote") from error


def table(report: Report) -> Iterator[str]:
    """The report for a person, line by line."""
    yield f"{report.machine or 'unknown machine'}{'; a dry run on the CPU with tiny models' if report.dry else ''}"
    yield ""
    yield "| measured | |"
    yield "|---|---|"
    for part in report.parts:
        yield from rows(part)
    yield ""
    yield f"{report.seconds:.0f} s of {report.budget:.0f}"
    for line in report.lacking:
        yield f"lacking: {line}"


def rows(part: Part) -> Iterator[str]:
    """What became of one part, as rows of the table."""
    for one in part.measured:
        said = [f"{shown(figure.value)} {figure.what}" for figure in one.figures]
        yield f"| {part.name}: {one.name} | {', '.join([*said, *([one.note] if one.note else [])])} |"
    if part.state != DONE:
        yield f"| {part.name} | {part.state}: {part.line} |"


def shown(value: float) -> str:
    """With three digits that count, and no fewer before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
