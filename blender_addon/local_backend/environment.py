"""Where the local backend is: a virtual environment, what is known of it, the backend's own folder and the logs."""

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

_MARKER = "dreamtime.json"


class Readiness(StrEnum):
    """OUTDATED: there, but made for another add-on or by a Blender that is gone; an installation replaces it."""

    ABSENT = "absent"
    OUTDATED = "outdated"
    READY = "ready"


@dataclass(frozen=True)
class Marker:
    """What an environment was made for. version: of the add-on. build: of torch: "cpu", "cuda" or "mps".

    python: such as "3.11". It is written last, so that what has one is whole.
    """

    version: str
    build: str
    python: str


@dataclass(frozen=True)
class Environment:
    """folder: all of the local backend; it need not exist."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "env"  # short: Windows' paths end at 260 characters

    @property
    def partial(self) -> Path:
        """Where it is made; renamed to `path` when it is whole."""
        return self.folder / "env.partial"

    @property
    def replaced(self) -> Path:
        """The one before, until it is deleted."""
        return self.folder / "env.old"

    @property
    def python(self) -> Path:
        return python_in(self.path)

    @property
    def home(self) -> Path:
        """The backend's own folder: jobs, models, keys."""
        return self.folder / "home"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def downloads(self) -> Path:
        """What pip keeps, so that an update downloads only what is new."""
        return self.folder / "downloads"

    @property
    def lock(self) -> Path:
        """Names the process that installs or removes it."""
        return self.folder / "installing.json"

    def marker(self) -> Marker | None:
        try:
            return Marker(**json.loads((self.path / _MARKER).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def readiness(self, version: str) -> Readiness:
        """Whether it is there and fits the add-on of this version."""
        marker = self.marker()
        if marker is None:
            return Readiness.ABSENT
        # The interpreter that made it is gone if Blender was moved or removed.
        return Readiness.READY if marker.version == version and self.python.exists() else Readiness.OUTDATED


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def mark(environment: Path, marker: Marker) -> None:
    """Say that the environment is whole."""
    (environment / _MARKER).write_text(json.dumps(asdict(marker)), "utf-8")
