"""A store, an executor that does what a test says, and time that stands still."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend.service.executor import Device, Result, Task, Update
from backend.service.store import Store


@dataclass
class Clock:
    """Seconds since 1970, as a test says."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ScriptedExecutor:
    """Takes tasks and reports what a test puts into `updates`."""

    devices_free: list[str] = field(default_factory=lambda: ["cpu"])
    started: list[Task] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    trouble: str = ""

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "broken" if self.trouble else "idle", self.trouble),)

    def free(self) -> tuple[str, ...]:
        return tuple(self.devices_free)

    def models(self, device: str) -> None:
        pass

    def start(self, device: str, task: Task) -> None:
        self.devices_free.remove(device)
        self.started.append(task)

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)

    def poll(self, now: float) -> list[Update]:
        found, self.updates = self.updates, []
        return found

    def fileno(self) -> int:
        return -1

    def facts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scripted() -> ScriptedExecutor:
    return ScriptedExecutor()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store(tmp_path / "home", clock)
    yield opened
    opened.close()


@pytest.fixture
def result_of(tmp_path: Path) -> Any:
    """Writes a file that a worker could have written, and describes it."""

    def write(content: bytes = b"mesh", name: str = "mesh.glb") -> Result:
        digest = hashlib.sha256(content).hexdigest()
        path = tmp_path / f"{digest}.out"
        path.write_bytes(content)
        return Result(name, path, digest, len(content))

    return write
