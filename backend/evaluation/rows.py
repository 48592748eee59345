"""What was measured, a line for each finished run: written as it comes, so that hours can be spread over days."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from backend.errors import UserError
from backend.evaluation.runs import Run, Suite

_FEATURE_DIGITS = 4


@dataclass(frozen=True)
class Row:
    """A finished run. measures: by name, see `measures`. seconds: of its optimisation.

    features: how the judge sees the result; cells: its shape, packed; both for telling results apart.
    failure: why the run ended early, or "".
    """

    run: Run
    measures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    features: tuple[float, ...] = ()
    cells: str = ""
    failure: str = ""


def path_of(folder: Path, suite: Suite) -> Path:
    """Where a suite's rows are."""
    return folder / f"rows-{suite}.jsonl"


class Rows:
    """The rows of one suite in a folder. Several processes may append to them at a time, if their runs are others.

    facts: what all rows depend on besides their runs, as JSON has it. Raises UserError for rows that came of other
    facts, and for rows that are there already unless `resume`.
    """

    def __init__(self, folder: Path, suite: Suite, facts: Mapping[str, Any], resume: bool) -> None:
        self._path = path_of(folder, suite)
        self._facts = dict(facts)
        folder.mkdir(parents=True, exist_ok=True)
        if _begun(self._path):
            if not resume:
                raise UserError(f"{folder} holds rows of an evaluation: go on with --resume, or name another --out")
            self._check(folder)

    def _check(self, folder: Path) -> None:
        theirs = read_facts(self._path)
        # Another version of a package makes other draws of the same kind: that is no reason to begin anew.
        keys = (self._facts | theirs).keys() - {"versions"}
        differing = sorted(key for key in keys if self._facts.get(key) != theirs.get(key))
        if differing:
            raise UserError(
                f"the rows in {folder} are of another evaluation ({', '.join(differing)} differ): name another --out"
            )

    def read(self) -> dict[Run, Row]:
        """All rows, by their runs."""
        return read(self._path)

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns."""
        line = asdict(row) | {"features": [round(value, _FEATURE_DIGITS) for value in row.features]}
        with FileLock(f"{self._path}.lock"), self._path.open("a+b") as file:
            if not _begun(self._path):
                file.truncate(0)
                file.write(_line({"facts": self._facts}))
            elif not _ends_whole(file):
                file.write(b"\n")  # what a process that was killed left stays a line that is none
            file.write(_line(line))
            file.flush()
            os.fsync(file.fileno())


def _begun(path: Path) -> bool:
    """Whether there is a first line; a process that was killed early may leave a part of it, which is nothing yet."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _ends_whole(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read() == b"\n")


def read_facts(path: Path) -> dict[str, Any]:
    """What all rows of a file depend on. Raises UserError if it is no file of rows."""
    with path.open(encoding="utf-8") as file:
        try:
            facts = json.loads(file.readline())["facts"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} holds no rows of an evaluation: name another --out") from error
    return dict(facts)


def read(path: Path) -> dict[Run, Row]:
    """The rows of a file, by their runs; none if there is no file.

    Lines that were cut off are passed over: their runs are to be done again. Raises UserError for whole ones
    that are no rows.
    """
    rows: dict[Run, Row] = {}
    if not path.exists():
        return rows
    for number, line in enumerate(path.read_bytes().split(b"\n")[1:], start=2):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        try:
            run = Run(**values.pop("run"))
            rows[run] = Row(run, **values | {"features": tuple(values["features"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"line {number} of {path} is no row of this version: name another --out") from error
    return rows
