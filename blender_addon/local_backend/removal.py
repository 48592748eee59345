"""The end of the local backend: what it takes on the disk, and the deleting, in a thread."""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .environment import Environment
from .files import delete, patiently
from .identity import Identity
from .plan import readable
from .troubles import CannotRemove, RemovalError

_MB = 10**6


@dataclass(frozen=True)
class Usage:
    """What the local backend takes, in bytes. programs: the environment. downloads: what pip keeps. rest: of its home,
    and the logs."""

    programs: int
    downloads: int
    models: int
    rest: int

    @property
    def total(self) -> int:
        return self.programs + self.downloads + self.models + self.rest

    def __str__(self) -> str:
        """The total, and what of it is a megabyte or more."""
        named = {"programs": self.programs, "downloads": self.downloads, "models": self.models}
        parts = (named | {"jobs and results": self.rest}).items()
        large = [f"{name} {readable(size // _MB)}" for name, size in parts if size >= _MB]
        return f"{readable(self.total // _MB)}{': ' if large else ''}{', '.join(large)}"


def usage(environment: Environment) -> Usage:
    """What there is now. It takes seconds: not for Blender's main thread."""
    programs = sum(map(_size, (environment.path, environment.partial, environment.replaced)))
    models = _size(environment.home / "models")
    rest = _size(environment.home) - models + _size(environment.logs)
    return Usage(programs, _size(environment.downloads), models, rest)


def at_uninstall(environment: Environment, extension_folder: Path) -> str:
    """What the artist should know before uninstalling the add-on, with which Blender deletes the extension's folder.

    extension_folder: bpy.utils.extension_path_user(...).
    """
    rest = "the list of jobs, results that are in no scene yet, and the pairing"
    if environment.folder.is_relative_to(extension_folder):
        rest = f"the backend with its models, {rest}"
        return f"Stop the backend before you uninstall DreamTime. Uninstalling deletes, without asking, {rest}."
    return f"Uninstalling DreamTime deletes, without asking, {rest}. The backend stays: remove it here first."


class Removal:
    """Deletes all of the local backend: programs, downloads, models, jobs, results, keys and logs.

    It happens in a thread that never touches Blender; `finished` and `error` may be looked at any time.
    """

    def __init__(self, environment: Environment) -> None:
        self.error: RemovalError | None = None
        self._environment = environment
        self._thread = threading.Thread(target=self._work, name="dreamtime-remove", daemon=True)

    def start(self) -> None:
        """Begin. Nothing may run from there. Raises CannotRemove."""
        environment = self._environment
        try:
            environment.folder.mkdir(parents=True, exist_ok=True)
            if Identity.read(environment.lock):
                raise CannotRemove("the backend is being installed or removed already", "wait until that is finished")
            self._identity = Identity.of(os.getpid())
            if self._identity:
                self._identity.write(environment.lock)
        except OSError as error:
            raise CannotRemove(f"cannot write {environment.folder} ({error.strerror})", "see who owns it") from error
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether it is over; `error` says if something is left."""
        return self._thread.ident is not None and not self._thread.is_alive()

    # --- in the thread ---

    def _work(self) -> None:
        environment = self._environment
        try:
            delete(environment.replaced)
            if environment.path.exists():  # whole or not at all: if its files are in use, nothing is lost yet
                patiently(lambda: environment.path.rename(environment.replaced))
            for path in environment.folder.iterdir():
                if path != environment.lock:
                    delete(path)
        except OSError as error:
            self.error = RemovalError(f"{environment.folder} could not be removed ({error.strerror})")
        finally:
            if self._identity:
                self._identity.forget(environment.lock)


def _size(folder: Path) -> int:
    """In bytes; 0 if it is not there. What links point to is not counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted since
                total += Path(place, name).lstat().st_size
    return total
