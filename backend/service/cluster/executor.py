"""The devices of a cluster, as the server has them: by way of one child process, the bridge, which is started anew
when it dies. Nothing here imports Ray."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backend.guidance.library import ModelSource
from backend.service.bell import Bell
from backend.service.child import Child, Gone, Ready, news_of
from backend.service.executor import (
    Advanced,
    Crashed,
    Device,
    DeviceState,
    Failed,
    Finished,
    Lost,
    Stopped,
    Task,
    Update,
)
from backend.service.pipe import Message, PipeError

logger = logging.getLogger(__name__)

JOIN_SECONDS = 120.0
"""A bridge that has not joined the cluster by then is ended, and another one started."""

_PAUSE_SECONDS, _PAUSE_MOST_SECONDS = 0.5, 15.0
_CLUSTER = "cluster"
_NOBODY = "no machine lends a device; the README says how one joins"
_LOST = "the way to the cluster is lost, and looked for anew; whoever runs the backend finds more in its log"


@dataclass(frozen=True)
class Posted:
    """How a device of the cluster stands: see `post.Standing`."""

    name: str
    state: DeviceState
    trouble: str
    models: frozenset[tuple[str, str]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Withdrawn:
    """The machine of a device left the cluster."""

    name: str


@dataclass(frozen=True)
class Trouble:
    """Why the cluster cannot be joined."""

    sentence: str


News = Ready | Posted | Withdrawn | Trouble | Advanced | Finished | Failed | Stopped | Crashed | Lost


class RayExecutor:
    """See `Executor`. kind: of the devices, "cpu" or "cuda". command: what runs the bridge. models: the server's own.

    The bridge is started in the thread that polls, and ends with it.
    """

    def __init__(
        self, kind: str, log_folder: Path, command: Sequence[str], models: Callable[[], Iterable[ModelSource]]
    ) -> None:
        self._bell = Bell()
        self._begin = partial(Child[News], command, kind, log_folder, self._bell.ring, understood)
        self._models = models
        self._ours = self._known()  # read now, when nobody waits: their digests take longer than a tick may
        self._bridge: Child[News] | None = None
        self._joined = False
        self._due = -math.inf  # when to start a bridge; while it has not joined, when to give it up
        self._pause = _PAUSE_SECONDS
        self._trouble = ""
        self._posted: dict[str, Posted] = {}
        self._tasks: dict[str, Task] = {}
        self._bell.ring()  # the first poll starts the bridge

    def devices(self) -> tuple[Device, ...]:
        if not self._posted:
            return (Device(_CLUSTER, "starting", self._trouble or _NOBODY * self._joined),)
        return tuple(
            Device(device.name, "busy" if device.name in self._tasks else device.state, device.trouble)
            for device in self._posted.values()
        )

    def free(self) -> tuple[str, ...]:
        idle = [device for device in self._posted.values() if device.state == "idle" and device.name not in self._tasks]
        return tuple(device.name for device in sorted(idle, key=_pace))

    def models(self, device: str) -> frozenset[str]:
        """Those of the server that lie there with the very same content."""
        posted = self._posted.get(device)
        return frozenset(name for name, _ in posted.models & self._ours) if posted else frozenset()

    def start(self, device: str, task: Task) -> None:
        if device not in self.free() or self._bridge is None:
            raise ValueError(f"{device} is not free")
        self._tasks[device] = task
        self._bridge.send(
            {
                "do": "start",
                "device": device,
                "job": task.job,
                "attempt": task.attempt,
                "request": task.request,
                "folder": str(task.folder),
                "given": task.given and str(task.given),
            }
        )

    def cancel(self, job: str) -> None:
        if self._bridge and any(task.job == job for task in self._tasks.values()):
            self._bridge.send({"do": "cancel", "job": job})

    def poll(self, now: float) -> list[Update]:
        self._bell.hush()
        self._ours = self._known()
        updates = [update for news in (self._bridge.take() if self._bridge else []) for update in self._hear(news, now)]
        if self._bridge is None and now >= self._due:
            self._join(now)
        elif self._bridge and not self._joined and now >= self._due:
            self._due = math.inf
            self._bridge.kill()
        return updates

    def fileno(self) -> int:
        return self._bell.fileno()

    def facts(self) -> dict[str, Any]:
        """Of the fastest device."""
        return next((device.facts for device in sorted(self._posted.values(), key=_pace) if device.facts), {})

    def close(self) -> None:
        if self._bridge:
            self._bridge.close()
        self._bell.close()

    def _hear(self, news: News | Gone, now: float) -> list[Update]:
        match news:
            case Gone():
                return self._bury(now)
            case Ready():
                self._joined, self._trouble, self._pause = True, "", _PAUSE_SECONDS
            case Posted():
                self._posted[news.name] = news
            case Withdrawn():
                self._posted.pop(news.name, None)
            case Trouble():
                self._trouble = news.sentence
            case Advanced():
                return [news]
            case _:
                self._tasks = {
                    device: task
                    for device, task in self._tasks.items()
                    if (task.job, task.attempt) != (news.job, news.attempt)
                }
                return [news]
        return []

    def _known(self) -> frozenset[tuple[str, str]]:
        return frozenset((model.name, model.revision) for model in self._models())

    def _join(self, now: float) -> None:
        self._joined, self._due = False, now + JOIN_SECONDS
        try:
            self._bridge = self._begin()
        except OSError as error:
            self._wait(f"the bridge to the cluster cannot be started ({error})", now)

    def _bury(self, now: float) -> list[Update]:
        """After the bridge's death: nothing is known of its tasks any more, and it may write nothing any more."""
        assert self._bridge is not None  # noqa: S101 for mypy: its news was just taken
        self._bridge.close()
        logger.error("the bridge to the cluster ended: %s", self._bridge.last_words())
        self._wait(self._trouble or _LOST, now)
        self._bridge = None
        tasks, self._tasks = self._tasks, {}
        self._posted.clear()
        return [Lost(task.job, task.attempt, "the way to the cluster was lost") for task in tasks.values()]

    def _wait(self, trouble: str, now: float) -> None:
        logger.error("%s", trouble)
        self._trouble, self._due = trouble, now + self._pause
        self._pause = min(2 * self._pause, _PAUSE_MOST_SECONDS)


def understood(message: Message) -> list[News]:
    """What a message of the bridge says. Raises PipeError if it says nothing."""
    header = dict(message.header)
    try:
        kind = header.pop("is")
        return [_one(kind, header, message.blob)]
    except (KeyError, TypeError, ValueError) as error:
        raise PipeError(f"the bridge's message cannot be understood: {error!r}") from error


def _one(kind: str, header: dict[str, Any], blob: bytes) -> News:
    if kind == "posted":
        models = frozenset((name, revision) for name, revision in header.pop("models"))
        return Posted(**header, models=models)
    if kind == "withdrawn":
        return Withdrawn(**header)
    if kind == "trouble":
        return Trouble(**header)
    if kind == "crashed":
        return Crashed(**header)
    if kind == "lost":
        return Lost(**header)
    return news_of(kind, header, blob)


def _pace(device: Posted) -> float:
    """Seconds that a step takes there."""
    return float(device.facts.get("seconds_per_step", math.inf))
