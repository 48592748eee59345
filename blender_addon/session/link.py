"""The client thread: the only one that owns a socket, and one that never touches Blender.

Commands come in over a queue, news goes out by the mailbox. Whatever happens to the backend or the network, the
thread goes on: requests that got no answer are asked again, jobs that were meant are submitted, results that are
done are fetched.
"""

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..shared.client import Client
from ..shared.errors import LinkError, Stopped, Trouble, Unreachable, WrongBackend
from ..shared.pairing import Pairing
from .commands import Command, Generate, noted
from .conversation import Conversation, Plans
from .inputs import Inputs
from .mailbox import Lost, Mailbox
from .records import Notes

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Pause before a backend that is not there is tried again."""

JOIN_SECONDS = 1.0

ABANDONED_SECONDS = 24 * 3600.0
"""Nobody fetches for so long."""


class Link:
    """A connection to one backend.

    pairings: the ways to reach one, the likeliest first, asked before each attempt; raises LinkError if there are none.
    folder: where notes, inputs and results are kept.
    """

    def __init__(self, pairings: Callable[[], Sequence[Pairing]], folder: Path, version: str, mailbox: Mailbox) -> None:
        self._pairings = pairings
        self._results = folder / "results"
        self._notes = Notes(folder / "jobs")
        self._inputs = Inputs(folder / "inputs")
        self._version = version
        self._mailbox = mailbox
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._plans = Plans()
        self._backend = ""
        self._stopping = threading.Event()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._run, name="DreamTime client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, command: Command) -> None:
        """Have something done; what comes of it is news."""
        self._commands.put(command)

    def stop(self) -> bool:
        """End the thread and its sockets, within a second; whether that came true."""
        self._stopping.set()
        client = self._client
        if client is not None:
            client.stop()
        self._thread.join(JOIN_SECONDS)
        return not self._thread.is_alive()

    # --- the thread ---

    def _run(self) -> None:
        self._sweep()
        while not self._stopping.is_set():
            try:
                self._converse_with_any()
            except Stopped:
                break
            except Trouble as error:
                self._mailbox.put(Lost(error))
                self._stopping.wait(RETRY_SECONDS)
            except Exception:  # a thread that dies silently would leave the panel waiting for ever
                logger.exception("the client thread failed")
                self._mailbox.put(
                    Lost(LinkError("the add-on's client failed", "see the system console, and report it"))
                )
                self._stopping.wait(RETRY_SECONDS)
        try:
            self._note_down()
        except OSError as error:
            logger.warning("a note cannot be written: %s", error)

    def _sweep(self) -> None:
        """Remove needless inputs, and what was half fetched when a Blender ended; another may be fetching right now."""
        for partial in self._results.glob("*.partial"):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(partial)
        self._inputs.sweep(note.request.start for note in self._notes.all() if note.request.start)

    def _converse_with_any(self) -> None:
        """Talk to the first backend that answers: one that was stopped leaves its line behind."""
        silent = []
        for pairing in self._pairings():
            try:
                return self._converse(pairing)
            except (Unreachable, WrongBackend) as error:
                silent.append(error)
        raise silent[0]

    def _converse(self, pairing: Pairing) -> None:
        """Talk to a backend until the connection breaks."""
        with Client(pairing, self._version) as client:
            self._client = client
            if self._stopping.is_set():
                return
            self._backend = pairing.server_key.hex()
            try:
                Conversation(
                    client,
                    self._backend,
                    self._notes,
                    self._inputs,
                    self._results,
                    self._mailbox,
                    self._commands,
                    self._plans,
                ).go_on()
            finally:
                self._client = None

    def _note_down(self) -> None:
        """The talk ends for good: what was asked for in the last moment is remembered, and submitted next time."""
        while self._backend and not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, Generate):
                if command.request.start and command.given:
                    self._inputs.keep(command.request.start, command.given)
                for note in noted(command, self._backend):
                    self._notes.keep(note)
