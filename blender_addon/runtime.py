"""What lives as long as the add-on is enabled: the book of jobs, the link to the backend, and where files are kept.

Only the main thread uses it. There is one runtime, because there is one add-on.
"""

import ipaddress
import logging
import queue
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import bpy

from .local_backend.environment import Environment
from .local_backend.machine import local_folder
from .local_backend.models import Models
from .local_backend.process import LocalBackend
from .local_backend.removal import Usage, usage
from .local_backend.status import Stage
from .session import pairings
from .session.book import Book
from .session.commands import Command
from .session.inputs import Inputs
from .session.link import Link
from .session.mailbox import Mailbox
from .session.records import Notes
from .shared.errors import LinkError, Trouble
from .shared.inputs import Start
from .shared.pairing import Pairing

logger = logging.getLogger(__name__)

T = TypeVar("T")

ADDON = __package__
"""The extension's name, which depends on the repository that it was installed from."""


def version() -> str:
    """Of this add-on."""
    manifest = tomllib.loads((Path(__file__).parent / "blender_manifest.toml").read_text(encoding="utf-8"))
    return str(manifest["version"])


def user_folder() -> Path:
    """Where the add-on may write; it survives updates of the add-on."""
    return Path(bpy.utils.extension_path_user(ADDON, create=True))


class Runtime:
    """Started when the add-on is enabled, stopped when it is disabled or Blender ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.book = Book(Notes(folder / "jobs").all(), lambda job: self.results(job).is_dir())
        self.mailbox = Mailbox()
        self.local = LocalBackend(Environment(local_folder(folder)), version())
        self.local_status = self.local.poll()
        self.remote = False
        self.online = bpy.app.online_access
        self.adding: Models | None = None
        self.adding_says = ""
        self.usage: Usage | None = None
        self._measured: object = None
        self._link: Link | None = None
        self._outcomes: queue.SimpleQueue[tuple[Callable[[Any], None], Any]] = queue.SimpleQueue()

    def results(self, job: str) -> Path:
        """Where the fetched results of a job lie."""
        return self.folder / "results" / job

    def given(self, start: Start) -> Path | None:
        """Where the input that a job began from lies, if it is here."""
        return Inputs(self.folder / "inputs").find(start)

    def thumbnail(self, job: str) -> Path:
        return self.folder / "thumbnails" / f"{job}.png"

    def connect(self, remote: bool) -> None:
        """Talk to this machine's backend, or to the one that was paired with. Ends the talk with another one."""
        self.stop()
        self.remote = remote
        self.book.away()
        self.mailbox = Mailbox()  # what the one before still had to say is nobody's any more
        self._link = Link(self._pairings, self.folder, version(), self.mailbox)
        self._link.start()

    def run(self, work: Callable[[], T], then: Callable[[T | Trouble], None]) -> None:
        """Do `work` in a thread, which must not touch Blender; the pump calls `then` with what it gave, or with the
        Trouble that it raised."""

        def labour() -> None:
            try:
                outcome: T | Trouble = work()
            except Trouble as error:
                outcome = error
            self._outcomes.put((then, outcome))

        threading.Thread(target=labour, name="DreamTime work", daemon=True).start()

    def measure(self) -> None:
        """Find out in a thread what the local backend takes on the disk, unless nothing has changed since; `usage` has
        it then."""
        environment, stage, changing = self.local.environment, self.local_status.stage, self.adding is not None
        if stage in (Stage.INSTALLING, Stage.REMOVING) or self._measured == (stage, changing):
            return
        self._measured = stage, changing
        self.run(lambda: usage(environment), lambda found: setattr(self, "usage", found))

    def outcome(self) -> Callable[[], None] | None:
        """What is to be called because a thread has finished, or None."""
        if self._outcomes.empty():
            return None
        then, outcome = self._outcomes.get()
        return lambda: then(outcome)

    def heed_online_access(self) -> None:
        """Blender may have been allowed to go online since, or no more."""
        if self.online != bpy.app.online_access:
            self.online = bpy.app.online_access
            if self.remote:
                self.connect(remote=True)

    def send(self, command: Command) -> None:
        if self._link is not None:
            self._link.send(command)

    def leave(self, keep_backend: bool) -> None:
        """The add-on is disabled, or Blender ends. keep_backend: this computer's backend goes on with its jobs."""
        self.stop()
        if self.adding is not None:
            self.adding.cancel()
        self.local.leave(keep_backend)

    def stop(self) -> None:
        """End the thread and its sockets."""
        if self._link is not None and not self._link.stop():
            logger.warning("the client thread did not end in time")
        self._link = None

    def _pairings(self) -> list[Pairing]:
        """How to reach the backend; called by the client thread, which never looks at Blender."""
        if not self.remote:
            return pairings.local(self.local.environment.home)
        found = pairings.remote(self.folder)
        if not _loopback(found.host) and not self.online:
            raise OfflineError("Blender may not go online")
        return [found]


class OfflineError(LinkError):
    usual_remedy = "allow online access in Preferences > System > Network"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_runtime: Runtime | None = None


def start() -> Runtime:
    global _runtime
    _runtime = Runtime(user_folder())
    return _runtime


def stop(keep_backend: bool) -> None:
    global _runtime
    if _runtime is not None:
        _runtime.leave(keep_backend)
    _runtime = None


def current() -> Runtime:
    """The runtime of the enabled add-on."""
    if _runtime is None:
        raise RuntimeError("the add-on is not enabled")
    return _runtime
