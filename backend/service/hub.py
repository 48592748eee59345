"""Answers to messages. No sockets: what arrived and the time go in, answers come out.

EVENTS without news is answered later, by tick(). A peer is a connection's routing id, an owner the public key of
the artist at its other end.
"""

import json
import platform
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from backend.errors import UserError
from backend.prior.lexicon import UnknownObjectError
from backend.service.database import storage
from backend.service.dispatch import Dispatcher
from backend.service.quotas import Quotas
from backend.service.store import Store
from shared.errors import (
    Invalid,
    Malformed,
    OtherVersion,
    ProtocolError,
    Refusal,
    Storage,
    TooMuch,
    UnknownAsset,
    VersionError,
)
from shared.jobs import Generation, JobState
from shared.limits import HEADER_BYTES, LISTED_JOBS, LIVE_SECONDS, POLLS_PER_ARTIST
from shared.messages import (
    Acknowledge,
    Cancel,
    Chunk,
    Delete,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Held,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Upload,
    Welcome,
)
from shared.offer import Offer
from shared.records import to_json

_LISTED_BYTES = HEADER_BYTES * 3 // 4


class Reply(NamedTuple):
    """An answer and where it goes. number: that of the message which it answers."""

    peer: bytes
    number: int
    message: Message


@dataclass(frozen=True)
class _Poll:
    """A connection that waits for news. due: when it is answered without any. live_from: when progress is news."""

    owner: str
    number: int
    cursor: int
    live: int
    due: float
    live_from: float


class Hub:
    """The backend as its clients see it.

    offer: what can be asked for. check: warnings about a request, or UserError. words: the file of a model's
    words, by its digest. clock: seconds since 1970; all other times are monotonic seconds. version: of this program.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        offer: Callable[[], Offer],
        check: Callable[[Generation], list[str]],
        words: Callable[[str], bytes | None],
        clock: Callable[[], float],
        version: str,
    ) -> None:
        self.boot = str(uuid.uuid4())
        self._store = store
        self._dispatcher = dispatcher
        self._offer = offer
        self._check = check
        self._words = words
        self._clock = clock
        self._version = version
        self._quotas = Quotas()
        self._polls: dict[bytes, _Poll] = {}
        self._changed = False

    def handle(self, peer: bytes, owner: str, number: int, message: Message, now: float) -> list[Reply]:
        """What to send because `message` came in."""
        try:
            if not self._quotas.allow(owner, now):
                raise TooMuch("these are too many requests at once", "ask more slowly")
            with storage():
                if isinstance(message, GetEvents):
                    return self._park(peer, owner, number, message, now)
                return [Reply(peer, number, self._placed(self._answer(owner, message)))]
        except Refusal as error:
            return [Reply(peer, number, Refused.because(error))]

    def misread(self, peer: bytes, owner: str, error: ProtocolError, now: float) -> list[Reply]:
        """What to send because bytes came in that are no message; nothing, if they come in floods."""
        if not self._quotas.allow(owner, now):
            return []
        refusal = OtherVersion if isinstance(error, VersionError) else Malformed
        return [Reply(peer, 0, Refused.because(refusal(error.sentence, error.remedy)))]

    def tick(self, now: float) -> list[Reply]:
        """What to send because jobs went on or time did."""
        changed = self._dispatcher.tick(now) or self._changed
        self._changed = False
        replies = []
        for peer, poll in list(self._polls.items()):
            if not self._dispatcher.admits(poll.owner):  # the key was revoked meanwhile
                del self._polls[peer]
            elif changed or now >= self._due(poll):
                news = self._news(poll)
                if news.events or news.running or now >= poll.due:
                    del self._polls[peer]
                    replies.append(Reply(peer, poll.number, news))
        return replies

    def due(self) -> float | None:
        """When `tick` should be called even if nothing happens."""
        times = [self._dispatcher.due(), *map(self._due, self._polls.values())]
        return min((time for time in times if time is not None), default=None)

    def gone(self, peer: bytes) -> None:
        """The connection is no more."""
        self._polls.pop(peer, None)

    # --- news ---

    def _due(self, poll: _Poll) -> float:
        """When `poll` is answered if no job changes its state."""
        progress = self._dispatcher.live.newest(poll.owner) > poll.live
        return min(poll.due, poll.live_from) if progress else poll.due

    def _park(self, peer: bytes, owner: str, number: int, message: GetEvents, now: float) -> list[Reply]:
        """Answer if there is news; otherwise remember who waits. One connection waits for one answer at a time."""
        before = self._polls.pop(peer, None)
        replies = [Reply(peer, before.number, self._news(before))] if before else []
        if sum(poll.owner == owner for poll in self._polls.values()) >= POLLS_PER_ARTIST:
            raise TooMuch(f"{POLLS_PER_ARTIST} connections wait for news already", "close some of them")
        cursor = self._store.events.last(owner) if message.cursor is None else message.cursor
        poll = _Poll(owner, number, cursor, message.live, now + message.wait, now + LIVE_SECONDS)
        if message.wait == 0 or self._store.events.after(owner, cursor):
            return [*replies, Reply(peer, number, self._news(poll))]
        self._polls[peer] = poll
        return replies

    def _news(self, poll: _Poll) -> News:
        events = tuple(self._store.events.after(poll.owner, poll.cursor))
        running, body = self._dispatcher.live.since(poll.owner, poll.live)
        # A cursor from a disk that was newer would pass over what happens from now on.
        cursor = events[-1].seq if events else min(poll.cursor, self._store.events.last(poll.owner))
        return News(self.boot, cursor, self._dispatcher.live.revision, events, running, body)

    # --- answers ---

    def _answer(self, owner: str, message: Message) -> Message:
        match message:
            case Hello():
                return self._welcome()
            case Submit():
                return self._submit(owner, message)
            case GetState():
                return Jobs((self._store.jobs.state(owner, message.job),))
            case GetList():
                return _page(self._store.jobs.listed(owner, message.before))
            case Cancel():
                self._dispatcher.cancel(self._store.cancel(owner, message.job))
                return self._new_state(owner, message.job)
            case Fetch():
                return self._chunk(owner, message)
            case Upload():
                return Held(message.sha256, self._store.inputs.receive(owner, message))
            case Acknowledge():
                self._store.acknowledge(owner, message.job)
                return Jobs((self._store.jobs.state(owner, message.job),))
            case Delete():
                self._store.delete(owner, message.job)
                return self._new_state(owner, message.job)
        raise Malformed(f"a {message.kind} is an answer, and nobody asked")

    def _welcome(self) -> Welcome:
        return Welcome(
            name=platform.node() or "backend",
            version=self._version,
            boot=self.boot,
            clock=self._clock(),
            devices=self._dispatcher.devices(),
            trouble=self._dispatcher.troubles(),
            offer=self._offer(),
        )

    def _submit(self, owner: str, message: Submit) -> Jobs:
        try:
            warnings = self._check(message.request)
        except UserError as error:
            sentence, _, remedy = str(error).partition("; ")
            nearest = error.nearest if isinstance(error, UnknownObjectError) else ()
            raise Invalid(sentence, remedy, nearest) from error
        jobs = self._store.submit(owner, message.jobs, message.request, warnings)
        self._changed = True
        return Jobs(tuple(jobs))

    def _placed(self, answer: Message) -> Message:
        """With what is not in the store: where jobs run."""
        if not isinstance(answer, Jobs):
            return answer
        jobs = [replace(job, device=self._dispatcher.device_of(job.number)) for job in answer.jobs]
        return replace(answer, jobs=tuple(jobs))

    def _new_state(self, owner: str, job: str) -> Jobs:
        self._changed = True
        return Jobs((self._store.jobs.state(owner, job),))

    def _chunk(self, owner: str, message: Fetch) -> Chunk:
        found = self._store.results.find(owner, message.sha256)
        if found is None and (words := self._words(message.sha256)) is not None:
            part = words[message.offset : message.offset + message.length]
            return Chunk(message.sha256, message.offset, len(words), part)
        if found is None:
            raise UnknownAsset(f"the backend has no file {message.sha256[:12]} of yours")
        path, size = found
        try:
            with path.open("rb") as file:
                file.seek(message.offset)
                return Chunk(message.sha256, message.offset, size, file.read(message.length))
        except OSError as error:
            raise Storage(f"the backend cannot read a result ({error.strerror})", "see to its disk") from error


def _page(jobs: Iterable[JobState]) -> Jobs:
    """As many of `jobs` as one answer holds."""
    page: list[JobState] = []
    size = 0
    for job in jobs:
        size += len(json.dumps(to_json(job), ensure_ascii=False).encode())
        if page and (len(page) == LISTED_JOBS or size > _LISTED_BYTES):
            return Jobs(tuple(page), more=True)
        page.append(job)
    return Jobs(tuple(page))
