"""What the client asks and what the backend answers: one record per kind of message.

Every request is idempotent: asked again after a lost answer, it changes nothing and is answered alike.
A message carries the number that its client gave it; the answer repeats it. Times are seconds since 1970,
durations seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from . import wire
from .assets import SHA256
from .errors import ProtocolError, Refusal, refusal
from .inputs import SORT
from .jobs import COUNT, JOB_ID, NAME, SENTENCE, TIME, Event, Generation, JobState, Live
from .limits import (
    ASSET_BYTES,
    BODY_BYTES,
    LISTED_DEVICES,
    LISTED_EVENTS,
    LISTED_JOBS,
    LIVE_JOBS,
    LONG_POLL_SECONDS,
    NAME_CHARACTERS,
    NEAREST_OBJECTS,
    TEXT_CHARACTERS,
    VARIATIONS,
)
from .offer import Offer
from .records import Record, at_most, between, checked, each, from_json, required, to_json


@dataclass(frozen=True)
class Message(Record):
    """kind: its name on the wire. A message whose class has a `body` field carries that as raw bytes."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Hello(Message):
    """Who is there? version: of the client's program."""

    kind = "HELLO"
    version: str = checked(NAME)


@dataclass(frozen=True)
class Submit(Message):
    """Make these jobs, all or none. Job number i of them gets the seed of the request plus i."""

    kind = "SUBMIT"
    jobs: tuple[str, ...] = checked(each(JOB_ID, VARIATIONS, 1))
    request: Generation = required()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.jobs)) != len(self.jobs):
            raise ValueError("an id stands there twice")


@dataclass(frozen=True)
class GetState(Message):
    kind = "STATE"
    job: str = checked(JOB_ID)


@dataclass(frozen=True)
class GetList(Message):
    """Jobs in the order of their arrival, the newest first, that came before the one numbered `before`."""

    kind = "LIST"
    before: int | None = checked(COUNT, None)


@dataclass(frozen=True)
class GetEvents(Message):
    """News after `cursor`, or, where there are none, as soon as there are, or none after `wait` seconds.

    live: the `live` of the last answer, 0 at first. cursor None: from now on.
    """

    kind = "EVENTS"
    cursor: int | None = checked(COUNT)
    live: int = checked(COUNT)
    wait: float = checked(between(0.0, LONG_POLL_SECONDS))


@dataclass(frozen=True)
class Cancel(Message):
    """End the job if it waits or runs; otherwise nothing happens."""

    kind = "CANCEL"
    job: str = checked(JOB_ID)


@dataclass(frozen=True)
class Fetch(Message):
    """Bytes of a result, or of a model's words, from `offset` on; fewer at its end."""

    kind = "FETCH"
    sha256: str = checked(SHA256)
    offset: int = checked(between(0, ASSET_BYTES))
    length: int = checked(between(1, BODY_BYTES))


@dataclass(frozen=True)
class Upload(Message):
    """Bytes of an input from `offset` on, before the SUBMIT that names it; none, to hear how many are there.

    sha256, size: of the whole input. What is there already is passed over, and what would leave a gap is not taken.
    """

    kind = "UPLOAD"
    sort: str = checked(SORT)
    sha256: str = checked(SHA256)
    size: int = checked(between(1, ASSET_BYTES))
    offset: int = checked(between(0, ASSET_BYTES))
    body: bytes = b""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offset + len(self.body) > self.size:
            raise ValueError("these bytes lie behind the input's end")


@dataclass(frozen=True)
class Acknowledge(Message):
    """The client has all results of the job, whole; the backend may remove them when it needs the room."""

    kind = "ACK"
    job: str = checked(JOB_ID)


@dataclass(frozen=True)
class Delete(Message):
    """Forget a finished job and its results."""

    kind = "DELETE"
    job: str = checked(JOB_ID)


@dataclass(frozen=True)
class Welcome(Message):
    """Answer to HELLO.

    name: the machine's. boot: another one after each start of the backend. clock: its time. devices: what computes, and
    whether it is busy. trouble: what keeps the backend from working, one sentence each.
    """

    kind = "WELCOME"
    name: str = checked(NAME)
    version: str = checked(NAME)
    boot: str = checked(JOB_ID)
    clock: float = checked(TIME)
    devices: tuple[str, ...] = checked(each(SENTENCE, LISTED_DEVICES))
    trouble: tuple[str, ...] = checked(each(SENTENCE, LISTED_DEVICES))
    offer: Offer = required()


@dataclass(frozen=True)
class Jobs(Message):
    """Answer to SUBMIT, STATE, LIST, CANCEL, ACK and DELETE. more: whether LIST has older ones."""

    kind = "JOBS"
    jobs: tuple[JobState, ...] = checked(at_most(max(LISTED_JOBS, VARIATIONS)))
    more: bool = False


@dataclass(frozen=True)
class News(Message):
    """Answer to EVENTS. cursor, live: what to ask with the next time.

    If boot is another one than before, list the jobs anew: the backend may have been set back to an older disk.
    """

    kind = "NEWS"
    boot: str = checked(JOB_ID)
    cursor: int = checked(COUNT)
    live: int = checked(COUNT)
    events: tuple[Event, ...] = checked(at_most(LISTED_EVENTS))
    running: tuple[Live, ...] = checked(at_most(LIVE_JOBS))
    body: bytes = b""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.body) != sum(job.preview + job.coarse for job in self.running):
            raise ValueError("the body has another size than its parts")

    def pictures(self) -> dict[str, tuple[bytes, bytes]]:
        """The new preview and coarse mesh per job, b"" where there is none."""
        found, offset = {}, 0
        for job in self.running:
            middle, end = offset + job.preview, offset + job.preview + job.coarse
            found[job.job] = self.body[offset:middle], self.body[middle:end]
            offset = end
        return found


@dataclass(frozen=True)
class Chunk(Message):
    """Answer to FETCH: bytes of a file from `offset` on. size: of the whole file."""

    kind = "CHUNK"
    sha256: str = checked(SHA256)
    offset: int = checked(between(0, ASSET_BYTES))
    size: int = checked(between(0, ASSET_BYTES))
    body: bytes = b""


@dataclass(frozen=True)
class Held(Message):
    """Answer to UPLOAD: how many bytes of the input are there. All of them: jobs may begin from it."""

    kind = "HELD"
    sha256: str = checked(SHA256)
    there: int = checked(between(0, ASSET_BYTES))


@dataclass(frozen=True)
class Refused(Message):
    """The answer no. nearest: objects that could be asked for instead of one that the model does not know."""

    kind = "REFUSED"
    code: str = checked(NAME)
    sentence: str = checked(SENTENCE)
    remedy: str = checked(SENTENCE)
    nearest: tuple[str, ...] = checked(each(NAME, NEAREST_OBJECTS), ())

    @classmethod
    def because(cls, error: Refusal) -> "Refused":
        nearest = tuple(name[:NAME_CHARACTERS] for name in error.nearest[:NEAREST_OBJECTS])
        return cls(error.code, error.sentence[:TEXT_CHARACTERS], error.remedy[:TEXT_CHARACTERS], nearest)

    def error(self) -> Refusal:
        return refusal(self.code, self.sentence, self.remedy, self.nearest)


REQUESTS: tuple[type[Message], ...] = (
    Hello,
    Submit,
    GetState,
    GetList,
    GetEvents,
    Cancel,
    Fetch,
    Upload,
    Acknowledge,
    Delete,
)
ANSWERS: tuple[type[Message], ...] = (Welcome, Jobs, News, Chunk, Held, Refused)

_KINDS = {message.kind: message for message in (*REQUESTS, *ANSWERS)}
_WITH_BODY = (Upload, News, Chunk)


def encode(message: Message, number: int) -> list[bytes]:
    """The frames of `message`. Raises ProtocolError if it is too large."""
    header = to_json(message)
    body = header.pop("body") if isinstance(message, _WITH_BODY) else b""
    return wire.pack({"kind": message.kind, "number": number, **header}, body)


def decode(frames: Sequence[bytes]) -> tuple[int, Message]:
    """The number and the message in `frames`. Raises ProtocolError, and nothing else, whatever the frames are."""
    header, body = wire.unpack(frames)
    kind, number = header.pop("kind", None), header.pop("number", None)
    if type(number) is not int or not COUNT(number):
        raise ProtocolError("the message has no number")
    if type(kind) is not str or kind not in _KINDS:
        raise ProtocolError("the message is of no known kind")
    fields: dict[str, Any] = header
    if issubclass(_KINDS[kind], _WITH_BODY):
        if "body" in header:
            raise ProtocolError("the body stands in the header")
        fields = {**header, "body": body}
    elif body:
        raise ProtocolError(f"a {kind} has no body")
    try:
        return number, from_json(_KINDS[kind], fields)
    except ValueError as error:
        raise ProtocolError(f"this is no {kind}: {error}") from error
