"""Diffusion models of the local backend: what one is before it is added, and the adding.

One is an id of the hub, such as owner/name, or the whole path of a file or folder on this computer. Both run the
backend's own command and take their time: never in Blender's main thread.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .child import Child
from .environment import Environment
from .install import HOME
from .troubles import ModelError

_FETCHING = re.compile(r"Fetching \d+ files: .*\| (\d+)/(\d+) \[")  # the bar of the hub's client

LOOK_SECONDS = 60.0
"""How long the hub may take to tell what it has."""

READ_SECONDS = 900.0
"""How long a file of some gigabytes may take to be read, from a slow disk."""


@dataclass(frozen=True)
class ModelOffer:
    """What adding a model would bring. size: bytes. licence: as its author states it, or "unknown"."""

    name: str
    size: int
    licence: str
    revision: str

    def __str__(self) -> str:
        size = f"{self.size / 1e9:.1f} GB" if self.size >= 1e8 else f"{self.size / 1e6:.1f} MB"
        return f"{self.name}: {size}, licence {self.licence}"


class Models:
    """online: whether Blender may use the internet (bpy.app.online_access)."""

    def __init__(self, environment: Environment, online: bool) -> None:
        self._environment = environment
        self._online = online
        self._stop = threading.Event()
        self._child: Child | None = None

    def look(self, model: str, seconds: float | None = None) -> ModelOffer:
        """What there is to add. Fetches nothing. seconds: that it may take, or as usual. Raises ModelError."""
        alarm = threading.Timer(seconds or (READ_SECONDS if is_here(model) else LOOK_SECONDS), self.cancel)
        alarm.daemon = True
        alarm.start()
        try:
            lines = self._run("look", model)
        except _Cancelled as error:
            if is_here(model):
                raise ModelError(f"{model} takes too long to read", "put it on a faster disk") from error
            raise ModelError("the hub does not answer", "check the internet connection and try again") from error
        finally:
            alarm.cancel()
        try:
            told = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
            return ModelOffer(str(told["name"]), int(told["size"]), str(told["licence"]), str(told["revision"]))
        except (StopIteration, ValueError, TypeError, KeyError) as error:
            raise ModelError("the backend's answer cannot be understood", "install the local backend again") from error

    def add(self, model: str, hear: Callable[[str], object] = len) -> None:
        """Add a model, for which the artist has agreed to the size and the licence. hear: gets each printed line.

        Interrupted, it goes on where it was when called again. Raises ModelError.
        """
        try:
            self._run("add", model, "--yes", hear=hear)
        except _Cancelled as error:
            raise ModelError("adding the model was cancelled", "add it again; it goes on where it was") from error

    def cancel(self) -> None:
        """End what runs; from any thread."""
        self._stop.set()
        if self._child:
            self._child.kill()

    def _run(self, verb: str, model: str, *options: str, hear: Callable[[str], object] = len) -> list[str]:
        if not self._online and not is_here(model):
            raise ModelError(
                "Blender may not use the internet, and models come from there",
                "turn on Allow Online Access in Preferences > System",
            )
        environment = self._environment
        command = [str(environment.python), "-m", "backend", "models", verb, *options, "--", model]
        try:
            environment.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._child = child = Child(command, environment.home, **{HOME: str(environment.home)})
        except OSError as error:
            raise ModelError(f"the local backend cannot be run ({error.strerror})", "install it again") from error
        if self._stop.is_set():  # before `cancel` could see the child
            child.kill()
        lines = []
        for line in child.lines():
            lines.append(line)
            hear(line)
        code = child.wait()
        if self._stop.is_set():
            raise _Cancelled
        if code:
            raise _complaint(lines)
        return lines


def is_here(model: str) -> bool:
    """Whether a model is on this computer, not on the hub."""
    return Path(model).is_absolute()


def files_here(line: str) -> str:
    """How far fetching is, in words for the panel, of a printed line; "" if that does not tell."""
    found = _FETCHING.match(line)
    return f"{found[1]} of {found[2]} files are here" if found else ""


class _Cancelled(Exception):
    pass


def _complaint(lines: list[str]) -> ModelError:
    """What the command complained of in its one line."""
    line = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
    sentence, _, remedy = line.partition("; ")
    return ModelError(sentence or "the model could not be had", remedy)
