"""The life of a job: which state follows which, and why. Nothing else decides it.

    QUEUED ──start──▶ RUNNING ──finish──▶ DONE
      │  ▲               │ │──fail──────▶ FAILED
      │  └──interrupt────┘ │
      │                 cancel
    cancel                 ▼
      │              CANCELLING ──stop, finish, fail, interrupt──▶ CANCELLED
      └──────────────────────────────────────────────────────────────▲
    DONE, FAILED, CANCELLED ──delete──▶ DELETED

DELETED remembers an id, so that a request which was under way when its job was deleted does not make it anew.
"""

from enum import StrEnum


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


class Change(StrEnum):
    """What happens to a job. interrupt: its worker or the server ended before it did. stop: cancelling came through."""

    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    INTERRUPT = "interrupt"
    CANCEL = "cancel"
    STOP = "stop"
    DELETE = "delete"


FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.DELETED})
"""States in which nothing more is computed."""

_TABLE: dict[State, dict[Change, State]] = {
    State.QUEUED: {
        Change.START: State.RUNNING,
        Change.FAIL: State.FAILED,  # its model is gone
        Change.CANCEL: State.CANCELLED,
    },
    State.RUNNING: {
        Change.FINISH: State.DONE,
        Change.FAIL: State.FAILED,
        Change.INTERRUPT: State.QUEUED,
        Change.CANCEL: State.CANCELLING,
    },
    State.CANCELLING: {
        Change.STOP: State.CANCELLED,
        Change.FINISH: State.CANCELLED,
        Change.FAIL: State.CANCELLED,
        Change.INTERRUPT: State.CANCELLED,
        Change.CANCEL: State.CANCELLING,
    },
    State.DONE: {Change.CANCEL: State.DONE, Change.DELETE: State.DELETED},
    State.FAILED: {Change.CANCEL: State.FAILED, Change.DELETE: State.DELETED},
    State.CANCELLED: {Change.CANCEL: State.CANCELLED, Change.DELETE: State.DELETED},
    State.DELETED: {Change.CANCEL: State.DELETED, Change.DELETE: State.DELETED},
}


class IllegalChange(Exception):
    """A change that a job in this state cannot undergo."""

    def __init__(self, state: State, change: Change) -> None:
        self.state, self.change = state, change
        super().__init__(f"a job that is {state} cannot {change}")


def after(state: State, change: Change) -> State:
    """The state that follows. Raises IllegalChange."""
    try:
        return _TABLE[state][change]
    except KeyError as error:
        raise IllegalChange(state, change) from error
