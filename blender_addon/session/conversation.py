"""What the client thread says to one backend while a connection holds: commands, news, and results brought here."""

import logging
import os
import queue
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..shared.client import Client
from ..shared.errors import LinkError, NotFinished, ProtocolError, Refusal, TransferError, UnknownJob
from ..shared.inputs import Start
from ..shared.jobs import Generation, JobState
from ..shared.messages import News, Welcome
from ..shared.states import FINAL, State
from .commands import Cancel, Command, Delete, Fetch, Generate, MarkImported, noted
from .completion import Completion
from .inputs import Inputs
from .mailbox import Changed, Connected, Fetched, Gone, Learnt, Mailbox, NotFetched, Progress, Refused, Sending
from .records import Notes

logger = logging.getLogger(__name__)

NEWS_SECONDS = 0.25
"""How long to wait for news before looking for commands."""

TOLD_SHARE = 0.05
"""Of an input: how much more of it has to be sent before that is news."""

HELLO_SECONDS = 5.0
"""How often to ask what the backend offers and how it is: estimates come with experience, and disks fill up."""


@dataclass
class Plans:
    """What outlives a connection. to_fetch: jobs whose results are wanted here, the most urgent first.

    dropped: jobs to be deleted when they have ended; nobody wants to hear of them. learnt: digests of words that were
    brought here.
    """

    to_fetch: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    learnt: set[str] = field(default_factory=set)


class Conversation:
    """One connection's worth of asking and answering."""

    def __init__(
        self,
        client: Client,
        backend: str,
        notes: Notes,
        inputs: Inputs,
        results: Path,
        mailbox: Mailbox,
        commands: "queue.SimpleQueue[Command]",
        plans: Plans,
    ) -> None:
        self._client = client
        self._backend = backend
        self._folder = notes
        self._inputs = inputs
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
        if command.request.start and command.given:
            try:
                self._inputs.keep(command.request.start, command.given)
            except OSError as error:
                logger.warning("an input cannot be written: %s", error)  # the backend will say that it lacks it
        for note in noted(command, self._backend):
            if note.job not in self._notes:
                self._notes[note.job] = note
                self._keep(note.job)

    def _submit(self, jobs: tuple[str, ...], request: Generation) -> None:
        try:
            if request.start:
                self._bring(jobs, request.start)
            states = self._client.submit(jobs, request)
        except (Refusal, TransferError) as error:
            self._mailbox.put(Refused(jobs, error))
            for job in jobs:
                self._forget(job)
            return
        for state in states:
            self._keep(state.id, sent=True)
            self._tell(state)

    def _bring(self, jobs: tuple[str, ...], start: Start) -> None:
        """Have the backend hold what these jobs begin from. Where it is not here any more, the backend may have it."""
        path = self._inputs.find(start)
        if path is None:
            return
        told = -1.0

        def sent(there: int) -> None:
            nonlocal told
            share = there / size
            if share - told >= TOLD_SHARE or there == size:
                told = share
                self._mailbox.put(Sending(jobs, share))

        try:
            size = path.stat().st_size
            self._client.upload(start, path, sent)
        except OSError as error:
            raise TransferError(f"{start.name} cannot be read ({error.strerror})", "generate it again") from error

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
