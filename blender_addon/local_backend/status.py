"""How the local backend stands: what the panel shows of it."""

from dataclasses import dataclass
from enum import StrEnum

from ..shared.pairing import Pairing


class Stage(StrEnum):
    ABSENT = "absent"
    OUTDATED = "outdated"
    INSTALLING = "installing"
    REMOVING = "removing"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Status:
    """sentence: how it stands. remedy: what to do about it, or "". pairing: how to reach it, while it runs.

    log_tail: the last lines of its log, if it crashed.
    """

    stage: Stage
    sentence: str
    remedy: str = ""
    pairing: Pairing | None = None
    log_tail: tuple[str, ...] = ()
