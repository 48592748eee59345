"""A worker process as its parent sees it: commands go in, news comes out, and in the end it is gone for certain."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from backend.service import pipe
from backend.service.executor import Advanced, Failed, Finished, Result, Stopped
from backend.service.pipe import Message, PipeError
from backend.service.worker import log_name

LOG_BYTES = 2**20
"""A log that is larger when a process or a task starts is put aside as .log.1."""

DEAF_SECONDS = 5.0
"""How long a process may live after it closed its news."""

CLOSE_SECONDS = 2.0
"""How long a process may live after its commands were closed."""

_TROUBLE_BYTES, _TROUBLE_LINES = 4096, 3


@dataclass(frozen=True)
class Ready:
    """The process is warm. facts: what it measured."""

    facts: dict[str, Any]


@dataclass(frozen=True)
class Spent:
    """The process told all it had to tell, and goes."""


@dataclass(frozen=True)
class Gone:
    """The process is dead and reaped. code: its exit code, or minus the signal. asked: whether it was killed here."""

    code: int
    asked: bool


News = Ready | Advanced | Finished | Failed | Stopped | Spent | Gone
Told = TypeVar("Told")


class Child(Generic[Told]):
    """One worker process and the thread that hears it. `ring` is called from there when there is news.

    understand: what a message says; raises PipeError if it says nothing. Raises OSError if it cannot be started. The
    calling thread has to live on: see `worker.main`.
    """

    def __init__(
        self,
        command: Sequence[str],
        device: str,
        log_folder: Path,
        ring: Callable[[], None],
        understand: Callable[[Message], list[Told]],
    ) -> None:
        log_folder.mkdir(parents=True, exist_ok=True)
        self.log = log_folder / log_name(device)
        self.rotate_log()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 the command is this program's own
                [*command, "--device", device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(device),
                # What the terminal sends to the server is the server's business; and so its own children go with it.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._commands = cast(BufferedIOBase, self._process.stdin)
        self._ring, self._understand = ring, understand
        self._lock = threading.Lock()
        self._latest: dict[str, Advanced] = {}
        self._news: list[Told | Gone] = []
        self._asked = False
        self._hearing = threading.Thread(
            target=self._hear, args=(cast(BufferedIOBase, self._process.stdout),), name=device, daemon=True
        )
        self._hearing.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, command: dict[str, Any]) -> None:
        """Give a command. If the process died just now, that comes as news."""
        with contextlib.suppress(OSError):
            pipe.write(self._commands, Message(command))

    def take(self) -> list[Told | Advanced | Gone]:
        """What came since the last call. Of progress only the latest of each job, with the latest pictures."""
        with self._lock:
            news, self._news = self._news, []
            latest, self._latest = self._latest, {}
        return [*latest.values(), *news]

    def terminate(self) -> None:
        """Ask the process and its own children to go."""
        self._signal("SIGTERM", self._process.terminate)

    def kill(self) -> None:
        """End the process and its own children."""
        self._signal("SIGKILL", self._process.kill)

    def dismiss(self) -> None:
        """Close the commands, at which the process ends itself."""
        with contextlib.suppress(OSError):
            self._commands.close()

    def close(self) -> None:
        """End the process, whatever it does, and the thread that hears it."""
        self.dismiss()
        self._hearing.join(CLOSE_SECONDS)
        self.kill()
        self._hearing.join()

    def rotate_log(self) -> None:
        """Put the log aside if it grew too large; the process goes on writing to the same file."""
        if self.log.is_file() and self.log.stat().st_size > LOG_BYTES:
            shutil.copyfile(self.log, self.log.with_name(self.log.name + ".1"))
            os.truncate(self.log, 0)

    def last_words(self) -> str:
        """The last lines of the log, as one line."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TROUBLE_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        return " / ".join([line.strip() for line in lines if line.strip()][-_TROUBLE_LINES:])

    def _signal(self, name: str, otherwise: Callable[[], None]) -> None:
        if self._process.poll() is not None:
            return
        self._asked = True
        if sys.platform == "win32":
            otherwise()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.Signals[name])

    def _hear(self, stream: BufferedIOBase) -> None:
        with stream:
            try:
                while (message := pipe.read(stream)) is not None:
                    self._keep(*self._understand(message))
            except PipeError:
                self.kill()
        try:
            code = self._process.wait(DEAF_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._keep(Gone(code, self._asked))

    def _keep(self, *news: Told | Gone) -> None:
        with self._lock:
            for one in news:
                if not isinstance(one, Advanced):
                    self._news.append(one)
                elif (before := self._latest.get(one.job)) and before.attempt == one.attempt:
                    self._latest[one.job] = replace(
                        one, preview=one.preview or before.preview, coarse=one.coarse or before.coarse
                    )
                else:
                    self._latest[one.job] = one
        self._ring()


def _environment(device: str) -> dict[str, str]:
    """A GPU's process sees that GPU alone, in the order of nvidia-smi."""
    kind, _, index = device.partition(":")
    gpu = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": index} if kind == "cuda" and index else {}
    return {**os.environ, **gpu}


def heard(message: Message) -> list[News]:
    """What a worker's message says. Raises PipeError if it says nothing."""
    header = dict(message.header)
    try:
        kind, spent = header.pop("is"), header.pop("spent", False)
        return [news_of(kind, header, message.blob), *([Spent()] if spent else [])]
    except (KeyError, TypeError, ValueError) as error:
        raise PipeError(f"a worker's message cannot be understood: {error!r}") from error


def news_of(kind: str, header: dict[str, Any], blob: bytes) -> Ready | Advanced | Finished | Failed | Stopped:
    """The news of a `kind`. Raises KeyError, TypeError and ValueError."""
    if kind == "advanced":
        middle = header.pop("preview")
        end = middle + header.pop("coarse")
        return Advanced(**header, preview=blob[:middle], coarse=blob[middle:end])
    if kind == "finished":
        results = tuple(Result(**{**result, "path": Path(result["path"])}) for result in header.pop("results"))
        return Finished(**header, results=results)
    if kind == "ready":
        return Ready(**header)
    if kind == "failed":
        return Failed(**header)
    if kind == "stopped":
        return Stopped(**header)
    raise ValueError(kind)
