"""Where tasks are carried out: the interface behind which the devices of one machine are, or those of many.

No I/O here, and no torch: the server imports this.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

DeviceState = Literal["starting", "idle", "busy", "broken"]


@dataclass(frozen=True)
class Device:
    """One device. trouble: why it is broken, with the last lines of its log; otherwise ""."""

    name: str
    state: DeviceState
    trouble: str = ""


@dataclass(frozen=True)
class Task:
    """One attempt at a job.

    attempt: grows with every try, so that news of an old one is told apart. request: a `shared.jobs.Generation`
    as JSON. folder: the job's own; checkpoints in it are gone on from. given: the file of the input that it begins
    from, if it does.
    """

    job: str
    attempt: int
    request: dict[str, Any]
    folder: Path
    given: Path | None = None


@dataclass(frozen=True)
class Result:
    """A finished file. size: bytes."""

    name: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Advanced:
    """How far a task is. Only the latest is kept, with the latest preview and coarse mesh that nobody took yet.

    step, steps: of the optimisation, once it has begun; t: its timestep. eta: seconds until the task is
    done. preview: a PNG, or b"" if there is no new one. coarse: what `shared.coarse` unpacks, or b"".
    """

    job: str
    attempt: int
    stage: str
    step: int | None = None
    steps: int | None = None
    t: int | None = None
    eta: float | None = None
    preview: bytes = b""
    coarse: bytes = b""


@dataclass(frozen=True)
class Finished:
    """The task is done; its results are whole and on disk."""

    job: str
    attempt: int
    results: tuple[Result, ...]
    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The task cannot be done, and another try would end alike. code: for programs; sentence: for the artist."""

    job: str
    attempt: int
    code: str
    sentence: str


@dataclass(frozen=True)
class Stopped:
    """The task was cancelled, and its process is idle again or dead."""

    job: str
    attempt: int


@dataclass(frozen=True)
class Crashed:
    """The process of the task died unasked; the device comes back by itself. reason: signal or exit code."""

    job: str
    attempt: int
    reason: str
    sentence: str


@dataclass(frozen=True)
class Lost:
    """The device of the task is out of reach, through no fault of the task's. reason: one sentence."""

    job: str
    attempt: int
    reason: str


Update = Advanced | Finished | Failed | Stopped | Crashed | Lost


@runtime_checkable
class Executor(Protocol):
    """Carries out tasks, one at a time on each device. To be used from one thread, which has to outlive it.

    Each started task ends in exactly one of Finished, Failed, Stopped, Crashed and Lost, and nothing comes after that.
    """

    def devices(self) -> tuple[Device, ...]:
        """All devices."""
        ...

    def free(self) -> tuple[str, ...]:
        """The devices that are warm and idle, the fastest first: a task would start there at once."""
        ...

    def models(self, device: str) -> frozenset[str] | None:
        """The names of the models that a device has; None: all that the server offers."""
        ...

    def start(self, device: str, task: Task) -> None:
        """Start `task`. Raises ValueError if `device` is not free."""
        ...

    def cancel(self, job: str) -> None:
        """Ask for the end of a task. Once is enough; of jobs that do not run nothing comes."""
        ...

    def poll(self, now: float) -> list[Update]:
        """News since the last call, at once. now: seconds of a monotonic clock.

        It also presses on with cancelling and restarts dead processes, so call it every second or so.
        """
        ...

    def fileno(self) -> int:
        """A socket that is readable when `poll` has news."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a warm process measured: see `backend.service.engine`. {} until one is warm."""
        ...

    def close(self) -> None:
        """End all tasks and processes, within seconds. They can be resumed."""
        ...
