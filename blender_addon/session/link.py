"""The client thread: the only one that owns a socket, and one that never touches Blender.

Commands come in over a queue, news goes out by the mailbox. Whatever happens to the backend or the network, the
thread goes on: requests that got no answer are asked again, jobs that were meant are submitted, results that are
done are fetched.
"""

import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..shared import limits
from ..shared.client import Client
from ..shared.errors import (
    LinkError,
    NotFinished,
    ProtocolError,
    Refusal,
    Stopped,
    TransferError,
    Trouble,
    UnknownJob,
    Unreachable,
    WrongBackend,
)
from ..shared.jobs import Generation, JobState
from ..shared.messages import News, Welcome
from ..shared.pairing import Pairing
from ..shared.states import FINAL, State
from .completion import Completion
from .mailbox import Changed, Connected, Fetched, Gone, Learnt, Lost, Mailbox, NotFetched, Progress, Refused
from .records import Note, Notes

logger = logging.getLogger(__name__)

NEWS_SECONDS = 0.25
"""How long to wait for news before looking for commands."""

HELLO_SECONDS = 5.0
"""How often to ask what the backend offers and how it is: estimates come with experience, and disks fill up."""

RETRY_SECONDS = 1.0
"""Pause before a backend that is not there is tried again."""

JOIN_SECONDS = 1.0

ABANDONED_SECONDS = 24 * 3600.0
"""Nobody fetches for so long."""


@dataclass(frozen=True)
class Generate:
    """Make these jobs of one request."""

    jobs: tuple[str, ...]
    request: Generation
    created: float


@dataclass(frozen=True)
class Cancel:
    job: str


@dataclass(frozen=True)
class Delete:
    """Forget a job here and on the backend; one that still runs is cancelled first."""

    job: str


@dataclass(frozen=True)
class Fetch:
    """Bring a job's results here (again)."""

    job: str


@dataclass(frozen=True)
class MarkImported:
    job: str


Command = Generate | Cancel | Delete | Fetch | MarkImported


class Link:
    """A connection to one backend.

    pairings: the ways to reach one, the likeliest first, asked before each attempt; raises LinkError if there are none.
    folder: where notes and results are kept.
    """

    def __init__(self, pairings: Callable[[], Sequence[Pairing]], folder: Path, version: str, mailbox: Mailbox) -> None:
        self._pairings = pairings
        self._results = folder / "results"
        self._notes = Notes(folder / "jobs")
        self._version = version
        self._mailbox = mailbox
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._plans = _Plans()
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
        """Remove what was half fetched when a Blender ended; another one may be fetching right now."""
        for partial in self._results.glob("*.partial"):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(partial)

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
                _Conversation(
                    client, self._backend, self._notes, self._results, self._mailbox, self._commands, self._plans
                ).go_on()
            finally:
                self._client = None

    def _note_down(self) -> None:
        """The talk ends for good: what was asked for in the last moment is remembered, and submitted next time."""
        while self._backend and not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, Generate):
                for note in _noted(command, self._backend):
                    self._notes.keep(note)


def _noted(command: Generate, backend: str) -> Iterator[Note]:
    """What is to be remembered of it, a note for each variation."""
    for index, job in enumerate(command.jobs):
        request = replace(command.request, seed=(command.request.seed + index) % limits.SEEDS)
        yield Note(job, command.jobs[0], request, backend, command.created)


@dataclass
class _Plans:
    """What outlives a connection. to_fetch: jobs whose results are wanted here, the most urgent first.

    dropped: jobs to be deleted when they have ended; nobody wants to hear of them. learnt: digests of words that were
    brought here.
    """

    to_fetch: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    learnt: set[str] = field(default_factory=set)


class _Conversation:
    """One connection's worth of asking and answering."""

    def __init__(
        self,
        client: Client,
        backend: str,
        notes: Notes,
        results: Path,
        mailbox: Mailbox,
        commands: "queue.SimpleQueue[Command]",
        plans: _Plans,
    ) -> None:
        self._client = client
        self._backend = backend
        self._folder = notes
        self._results = results
        self._mailbox = mailbox
        self._commands = commands
        self._notes = {note.job: note for note in notes.all() if note.backend == self._backend}
        self._to_fetch, self._dropped, self._learnt = plans.to_fetch, plans.dropped, plans.learnt

    def go_on(self) -> None:
        """Until a Trouble is raised."""
        boot, cursor, live, greet_at = "", None, 0, 0.0
        while True:
            if time.monotonic() >= greet_at:
                welcome = self._client.hello()
                self._mailbox.put(Connected(welcome))
                self._learn(welcome)
                greet_at = time.monotonic() + HELLO_SECONDS
            news = self._client.news(cursor, live, 0.0 if cursor is None else NEWS_SECONDS)
            if news.boot != boot:
                self._reconcile()
                greet_at = 0.0
            boot, cursor, live = news.boot, news.cursor, news.live
            self._hear(news)
            self._obey()
            self._fetch_one()

    def _learn(self, welcome: Welcome) -> None:
        """Bring the words here of models that are offered for the first time, or with other words than before."""
        for file in (model.words for model in welcome.offer.models if model.words):
            if file.sha256 in self._learnt:
                continue
            try:
                words = self._client.words(file)
            except (Refusal, TransferError, ProtocolError) as error:
                logger.warning("the words of a model cannot be had: %s", error)
            else:
                self._learnt.add(file.sha256)
                self._mailbox.put(Learnt(file.sha256, Completion(words)))

    def _reconcile(self) -> None:
        """What was meant is submitted, and what the backend says counts."""
        for batch in {note.batch for note in self._notes.values() if not note.sent}:
            meant = [note for note in self._notes.values() if note.batch == batch]
            meant.sort(key=lambda note: (note.job != batch, note.request.seed))
            self._submit(tuple(note.job for note in meant), meant[0].request)
        there = set()
        for state in self._client.jobs():
            there.add(state.id)
            self._tell(state)
        for job in self._notes.keys() - there:
            self._mailbox.put(Gone(job))

    def _hear(self, news: News) -> None:
        for job in dict.fromkeys(event.job for event in news.events):
            self._tell(self._client.state(job))
        pictures = news.pictures()
        for live in news.running:
            self._mailbox.put(Progress(live, *pictures[live.job]))

    def _tell(self, state: JobState) -> None:
        if state.state == State.DELETED:
            self._mailbox.put(Gone(state.id))
            return
        if state.id in self._dropped:
            if state.state in FINAL:
                self._ask(state.id, lambda: self._delete(state.id))
            return
        self._mailbox.put(Changed(state))
        if state.state == State.DONE:
            if (self._results / state.id).is_dir():
                self._mailbox.put(Fetched(state.id))
            elif state.results and state.id in self._notes and state.id not in self._to_fetch:
                self._to_fetch.append(state.id)  # those of other machines are fetched when asked for

    # --- commands ---

    def _obey(self) -> None:
        while not self._commands.empty():
            command = self._commands.get()
            try:
                self._carry_out(command)
            except LinkError:
                self._commands.put(command)  # for the next connection
                raise

    def _carry_out(self, command: Command) -> None:
        match command:
            case Generate(jobs, request, _):
                self._mean(command)
                self._submit(jobs, request)
            case Cancel(job):
                self._ask(job, lambda: self._tell(self._client.cancel(job)))
            case Delete(job):
                self._ask(job, lambda: self._delete(job))
            case Fetch(job):
                self._to_fetch.insert(0, job)
            case MarkImported(job):
                self._keep(job, imported=True)

    def _mean(self, command: Generate) -> None:
        """Remember what is about to be asked, so that it is asked even if Blender ends now."""
        for note in _noted(command, self._backend):
            if note.job not in self._notes:
                self._notes[note.job] = note
                self._keep(note.job)

    def _submit(self, jobs: tuple[str, ...], request: Generation) -> None:
        try:
            states = self._client.submit(jobs, request)
        except Refusal as error:
            self._mailbox.put(Refused(jobs, error))
            for job in jobs:
                self._forget(job)
            return
        for state in states:
            self._keep(state.id, sent=True)
            self._tell(state)

    def _delete(self, job: str) -> None:
        try:
            self._client.delete(job)
        except NotFinished:
            self._dropped.add(job)
            self._tell(self._client.cancel(job))
            return
        except UnknownJob:
            pass  # it is gone already
        self._dropped.discard(job)
        self._forget(job)
        shutil.rmtree(self._results / job, ignore_errors=True)

    def _ask(self, job: str, question: Callable[[], None]) -> None:
        """Ask about a job; a no is told."""
        try:
            question()
        except Refusal as error:
            self._mailbox.put(Refused((job,), error))

    def _fetch_one(self) -> None:
        """Bring the results of one job here, whole, then acknowledge them."""
        if not self._to_fetch:
            return
        job = self._to_fetch.pop(0)
        place = self._results / job
        partial = place.with_name(f"{job}.{os.getpid()}.partial")
        try:
            partial.mkdir(parents=True, exist_ok=True)
            self._client.fetch_all(self._client.state(job), partial)
            if place.is_dir():  # what is there was not whole, or it would not be asked for
                shutil.rmtree(place)
            partial.replace(place)
            self._mailbox.put(Fetched(job))
        except LinkError:
            self._to_fetch.insert(0, job)
            raise
        except (Refusal, TransferError) as error:
            self._mailbox.put(NotFetched(job, error))
        except OSError as error:
            trouble = TransferError(f"the result cannot be written ({error.strerror})", "make room on this disk")
            self._mailbox.put(NotFetched(job, trouble))

    # --- notes ---

    def _keep(self, job: str, **changes: bool) -> None:
        note = self._notes.get(job)
        if note is None:  # of a job that another Blender or the command line made
            return
        self._notes[job] = replace(note, **changes)
        try:
            self._folder.keep(self._notes[job])
        except OSError as error:
            logger.warning("a note cannot be written: %s", error)

    def _forget(self, job: str) -> None:
        self._notes.pop(job, None)
        try:
            self._folder.forget(job)
        except OSError as error:
            logger.warning("a note cannot be removed: %s", error)
