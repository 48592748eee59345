"""The child process of a device: it carries out one task after another and tells how they go.

    python -m backend.service.worker --device cpu

Commands come in on the standard input and news goes out on the standard output, both as `pipe` has them. The
process lives no longer than its parent. Nothing here imports torch: the engine is passed in, and loaded when
the ways out are already watched.
"""

import argparse
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BufferedIOBase
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any, NoReturn, Protocol, runtime_checkable

from backend.openmp import SPINS
from backend.service import pipe
from backend.service.executor import Result, Task
from backend.service.pipe import Message, PipeError

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Standing:
    """How far a task is: `executor.Advanced`, without whose.

    interruptible: whether the work from here to the next report may be broken off anywhere.
    """

    stage: str
    step: int | None = None
    steps: int | None = None
    t: int | None = None
    eta: float | None = None
    preview: bytes = b""
    coarse: bytes = b""
    interruptible: bool = False


Listener = Callable[[Standing], None]


class TaskError(Exception):
    """The task cannot be done. code, sentence: see `executor.Failed`. spent: whether the process has to go, as
    only that frees its memory."""

    def __init__(self, code: str, sentence: str, spent: bool = False) -> None:
        self.code, self.sentence, self.spent = code, sentence, spent
        super().__init__(sentence)


class Cancelled(BaseException):
    """The task is to end here and now. No error, so that nothing on its way up takes it for one."""


@runtime_checkable
class Engine(Protocol):
    """What carries out tasks."""

    def warm_up(self, device: str) -> dict[str, Any]:
        """Get ready; returns JSON-compatible facts, such as how fast this device is."""
        ...

    def carry_out(
        self, request: dict[str, Any], folder: Path, device: str, listen: Listener, given: Path | None = None
    ) -> tuple[tuple[Result, ...], dict[str, Any]]:
        """The finished files and a JSON-compatible report. What `listen` raises ends it. Raises TaskError.

        given: the file of the input that the request names as its start.
        The report's "notes", where it has any, are sentences for the artist: what did not go as planned.
        """
        ...


def log_name(device: str) -> str:
    """The file that a worker's standard error goes to."""
    return f"worker-{device.replace(':', '-')}.log"


def main(make_engine: Callable[[], Engine], arguments: Sequence[str] | None = None) -> NoReturn:
    """Be the worker of a device until the parent closes the standard input or dies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    device: str = parser.parse_args(arguments).device
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    die_with_parent()
    commands, news = own_pipes()
    worker = _Worker(device, commands, news)
    signal.signal(signal.SIGINT, worker.interrupt)
    threading.Thread(target=worker.obey, name="commands", daemon=True).start()
    engine = make_engine()
    worker.tell("ready", facts=engine.warm_up(device))
    while True:
        worker.work(engine)


def die_with_parent() -> None:
    """Linux ends this process when the parent's thread that started it ends, even in the middle of a long call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def own_pipes() -> tuple[BufferedIOBase, BufferedIOBase]:
    """The parent's ends, taken away from everybody else in this process: what they print goes to standard error."""
    commands, news = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return commands, news


class _Worker:
    """The state that the thread of the commands and the main thread, which works, share."""

    def __init__(self, device: str, commands: BufferedIOBase, news: BufferedIOBase) -> None:
        self.device = device
        self._commands = commands
        self._news = news
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._given: tuple[str, int] | None = None
        self._cancelled = threading.Event()
        self._interruptible = False

    def tell(self, kind: str, blob: bytes = b"", **header: Any) -> None:
        """Send one message. There is nothing to live for when nobody hears it."""
        try:
            pipe.write(self._news, Message({"is": kind, **header}, blob))
        except OSError:
            os._exit(0)

    def obey(self) -> None:
        """Take commands, until there is no parent to give them."""
        try:
            while (message := pipe.read(self._commands)) is not None:
                self._take(message.header)
        except (PipeError, OSError, KeyError, TypeError):
            logger.exception("the parent's commands cannot be understood")
        finally:
            os._exit(0)

    def _take(self, command: dict[str, Any]) -> None:
        key = (command["job"], command["attempt"])
        if command["do"] == "start":
            self._cancelled.clear()
            self._given = key
            given = command["given"]
            self._tasks.put(Task(*key, command["request"], Path(command["folder"]), Path(given) if given else None))
        elif key == self._given:  # to cancel it
            self._cancelled.set()
            while self._interruptible:  # a signal that comes just before a wait begins does not end it
                _wake_main_thread()
                time.sleep(_AGAIN_SECONDS)

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal in the main thread: break off what may be broken off."""
        if self._interruptible and self._cancelled.is_set():
            self._interruptible = False
            raise Cancelled

    def work(self, engine: Engine) -> None:
        """Carry out the next task."""
        task = self._tasks.get()
        whose: dict[str, Any] = {"job": task.job, "attempt": task.attempt}
        outcome: dict[str, Any]
        try:
            outcome = self._outcome(engine, task, whose)
        except Cancelled:
            outcome = {}
        spent = outcome.get("spent", False)
        if self._cancelled.is_set():  # however it ended: libraries may have caught what was raised
            outcome = {"kind": "stopped", "spent": spent}
        self.tell(**outcome, **whose)
        if spent:
            os._exit(0)

    def _outcome(self, engine: Engine, task: Task, whose: dict[str, Any]) -> dict[str, Any]:
        """What is to be told of the task in the end."""

        def listen(standing: Standing) -> None:
            # In this order: a cancellation that comes in between meets one of the two.
            self._interruptible = standing.interruptible
            if self._cancelled.is_set():
                raise Cancelled
            self._advance(whose, standing)

        try:
            results, report = engine.carry_out(task.request, task.folder, self.device, listen, task.given)
            files = [{**asdict(result), "path": str(result.path)} for result in results]
            return {"kind": "finished", "results": files, "report": report}
        except TaskError as error:
            logger.warning("job %s: %s", task.job, error, exc_info=error.__cause__)
            return {"kind": "failed", "code": error.code, "sentence": error.sentence, "spent": error.spent}
        except Exception as error:  # whatever it is, the job has to end
            logger.exception("job %s", task.job)
            where = f"{log_name(self.device)} in the service's log folder"
            sentence = f"the program failed ({type(error).__name__}); {where} tells more"
            return {"kind": "failed", "code": "internal", "sentence": sentence}
        finally:
            self._interruptible = False

    def _advance(self, whose: dict[str, Any], standing: Standing) -> None:
        header = asdict(standing)
        del header["interruptible"]
        header |= {"preview": len(standing.preview), "coarse": len(standing.coarse)}
        self.tell("advanced", standing.preview + standing.coarse, **whose, **header)


def _wake_main_thread() -> None:
    """Send the signal that `interrupt` handles; one that also ends a wait for another process, where there is such."""
    main_thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main_thread is not None:
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def _torch_engine() -> Engine:
    from backend.service.engine import TorchEngine

    return TorchEngine()


if __name__ == "__main__":
    os.environ.setdefault(*SPINS)
    # As a program this file is a module of its own, whose TaskError is not the one that the engine imports and raises.
    from backend.service import worker

    worker.main(worker._torch_engine)
