"""The client: one connection to one backend, for the command line and the add-on alike.

A `Client` is for one thread. It asks one thing at a time, or fetches a file with several chunks under way. Every
request may be asked again, so a lost answer is cured by a new socket and the same request; `patient` clients do so
with growing pauses, forever if they are told to.
"""

import hashlib
import itertools
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from . import limits
from .assets import Asset
from .errors import (
    ConnectionLost,
    LinkError,
    NotPaired,
    ProtocolError,
    Stopped,
    TransferError,
    Unreachable,
    WrongBackend,
)
from .jobs import Generation, JobState, Live
from .messages import (
    Acknowledge,
    Cancel,
    Chunk,
    Delete,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Welcome,
    decode,
    encode,
)
from .pairing import Pairing
from .states import FINAL
from .words import Words

_FAILURES = (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_EVENTS = (zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_AUTH, *_FAILURES)

M = TypeVar("M", bound=Message)
T = TypeVar("T")

_HANDSHAKES_FAILED = 3
"""Handshakes that end without a reason before another backend is suspected: a restart ends one or two."""


@dataclass(frozen=True)
class Patience:
    """How long lost connections are mended. seconds: in all, None for ever. told: hears of each one, with the pause."""

    seconds: float | None = 0.0
    told: Callable[[LinkError, float], None] = lambda error, pause: None


class Client:
    """Speaks to the backend that `pairing` names. version: of the program, for the backend's information."""

    def __init__(self, pairing: Pairing, version: str, patience: Patience | None = None) -> None:
        self.pairing = pairing
        self._version = version
        self._patience = patience or Patience()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._link: _Link | None = None

    def stop(self) -> None:
        """Let whatever waits here raise Stopped, now and from now on. The one method for other threads."""
        self._stopped.set()

    def close(self) -> None:
        """End at once; nothing is waited for."""
        self._drop_link()
        self._context.term()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- requests ---

    def hello(self) -> Welcome:
        return self._ask(Hello(self._version), Welcome)

    def submit(self, jobs: tuple[str, ...], request: Generation) -> tuple[JobState, ...]:
        """Make these jobs; keep the ids before, and submit again with the same ones if no answer came."""
        return self._ask(Submit(jobs, request), Jobs).jobs

    def state(self, job: str) -> JobState:
        return self._ask(GetState(job), Jobs).jobs[0]

    def jobs(self) -> Iterator[JobState]:
        """All of the artist's jobs, the newest first."""
        before, more = None, True
        while more:
            page = self._ask(GetList(before), Jobs)
            yield from page.jobs
            more = page.more
            before = page.jobs[-1].number if page.jobs else None

    def news(self, cursor: int | None, live: int, wait: float) -> News:
        """Events after `cursor` and progress after `live`, as soon as there are any, within `wait` seconds."""
        return self._ask(GetEvents(cursor, live, wait), News, wait)

    def cancel(self, job: str) -> JobState:
        return self._ask(Cancel(job), Jobs).jobs[0]

    def acknowledge(self, job: str) -> JobState:
        """Say that all results of the job are here."""
        return self._ask(Acknowledge(job), Jobs).jobs[0]

    def delete(self, job: str) -> JobState:
        return self._ask(Delete(job), Jobs).jobs[0]

    def words(self, file: Asset) -> Words:
        """The words of a model, by what its offer says of them. Raises TransferError if the bytes are others."""
        content = bytearray()
        self._patiently(lambda: self._receive(file, len(content), content.extend))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise TransferError(f"{file.name} arrived with other bytes than the backend promised")
        return Words.unpack(bytes(content))

    # --- longer conversations ---

    def follow(self, job: str) -> Iterator[JobState | Live]:
        """Where the job is, whenever that changes, until it is finished. Survives restarts of the backend."""
        boot, cursor, live = "", None, 0
        state = None
        while state is None or state.state not in FINAL:
            news = self.news(cursor, live, 0.0 if cursor is None else limits.LONG_POLL_SECONDS)
            yield from (part for part in news.running if part.job == job)
            if news.boot != boot or any(event.job == job for event in news.events):
                state = self.state(job)
                yield state
            boot, cursor, live = news.boot, news.cursor, news.live

    def fetch(self, asset: Asset, path: Path, received: Callable[[int], object] = lambda size: None) -> None:
        """Bring a file of a result here: whole and as promised, or not at all.

        What an interrupted fetch left beside `path` is gone on from. received: hears how many bytes are there.
        Raises TransferError if the bytes are others than promised, OSError if they cannot be written.
        """
        part = path.with_name(f"{path.name}.{asset.sha256[:12]}.part")
        with part.open("a+b") as file:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256")
            if file.tell() > asset.size:
                file.truncate(0)
                file.seek(0)
                digest = hashlib.sha256()

            def keep(chunk: bytes) -> None:
                file.write(chunk)
                digest.update(chunk)

            self._patiently(lambda: self._receive(asset, file.tell(), keep, received))
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != asset.sha256:
            part.unlink()
            raise TransferError(f"{asset.name} arrived with other bytes than the backend promised")
        part.replace(path)

    def fetch_all(self, job: JobState, folder: Path, received: Callable[[int], object] = lambda size: None) -> None:
        """Bring all results of a job into `folder`, then tell the backend that they are here."""
        total = 0

        def added(size: int) -> None:
            received(total + size)

        for asset in job.results:
            self.fetch(asset, folder / asset.name, added)
            total += asset.size
        self.acknowledge(job.id)

    def _receive(
        self,
        asset: Asset,
        start: int,
        write: Callable[[bytes], None],
        received: Callable[[int], object] = lambda size: None,
    ) -> None:
        """Write the bytes of `asset` from `start` on, in order, with several chunks under way."""
        wanted = iter(range(start, asset.size, limits.CHUNK_BYTES))
        under_way: deque[tuple[int, int]] = deque()
        done = start
        while done < asset.size:
            for offset in itertools.islice(wanted, limits.CHUNKS_IN_FLIGHT - len(under_way)):
                length = min(limits.CHUNK_BYTES, asset.size - offset)
                under_way.append((self._send(Fetch(asset.sha256, offset, length)), length))
            number, length = under_way.popleft()
            chunk = self._answer(number, Chunk)
            if (chunk.sha256, chunk.offset, chunk.size, len(chunk.body)) != (asset.sha256, done, asset.size, length):
                raise TransferError(f"{asset.name} is not as long as the backend promised")
            write(chunk.body)
            done += length
            received(done)

    # --- asking ---

    def _ask(self, message: Message, kind: type[M], wait: float = 0.0) -> M:
        return self._patiently(lambda: self._answer(self._send(message), kind, wait))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """The outcome of `attempt`, tried again with growing pauses where the connection was lost."""
        pause, began = limits.BACKOFF_FIRST_SECONDS, time.monotonic()
        while True:
            try:
                return attempt()
            except LinkError as error:
                self._drop_link()
                patience = self._patience.seconds
                if patience is not None and time.monotonic() - began + pause > patience:
                    raise
                self._patience.told(error, pause)
            # Many clients that lost one backend shall not all come back in the same moment.
            self._stopped.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, limits.BACKOFF_MOST_SECONDS)

    def _send(self, message: Message) -> int:
        number = next(self._numbers)
        self._connected().send(encode(message, number), limits.REPLY_SECONDS)
        return number

    def _answer(self, number: int, kind: type[M], wait: float = 0.0) -> M:
        """The answer to message `number`, which the backend was asked to give within `wait` seconds.

        Raises Refusal if it is no, LinkError if none comes.
        """
        deadline = time.monotonic() + wait + limits.REPLY_SECONDS
        while True:
            theirs, message = decode(self._connected().receive(deadline))
            if isinstance(message, Refused) and theirs in (0, number):  # 0: it could not even read the number
                raise message.error()
            if theirs == number:
                if not isinstance(message, kind):
                    raise ProtocolError(f"the backend answered with a {message.kind} instead of a {kind.kind}")
                return message
            # An answer to a request that was given up.

    def _connected(self) -> "_Link":
        if self._link is None:
            self._link = _Link(self._context, self.pairing, self._stopped)
        return self._link

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class _Link:
    """A socket and the monitor that tells why it does not connect."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", pairing: Pairing, stopped: threading.Event) -> None:
        self._stopped = stopped
        host = f"[{pairing.host}]" if ":" in pairing.host else pairing.host
        self._where = f"{host}:{pairing.port}"
        self._welcomed = False
        self._failures = 0
        self._socket = context.socket(zmq.DEALER)
        for option, value in _options(pairing).items():
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(sum(_EVENTS))
        self._poller = zmq.Poller()
        self._poller.register(self._monitor, zmq.POLLIN)
        self._socket.connect(f"tcp://{self._where}")

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def send(self, frames: list[bytes], within: float) -> None:
        deadline = time.monotonic() + within
        while True:
            self._wait(zmq.POLLOUT, deadline)
            with suppress(zmq.Again):  # the connection may break in this moment
                self._socket.send_multipart(frames, zmq.NOBLOCK)
                return

    def receive(self, deadline: float) -> list[bytes]:
        self._wait(zmq.POLLIN, deadline)
        return self._socket.recv_multipart(zmq.NOBLOCK)

    def _wait(self, what: int, deadline: float) -> None:
        """Return when the socket is ready. Raises LinkError at the deadline, or once it is known that it never will."""
        self._poller.register(self._socket, what)
        while True:
            if self._stopped.is_set():
                raise Stopped("the conversation was ended")
            left = deadline - time.monotonic()
            ready = dict(self._poller.poll(round(1000 * min(max(0.0, left), limits.STOP_SECONDS))))
            if self._monitor in ready:
                self._explain(recv_monitor_message(self._monitor)["event"])
            elif self._socket in ready:
                return
            elif left <= 0:
                raise Unreachable(f"no backend answers at {self._where}")

    def _explain(self, event: int) -> None:
        """Raise the LinkError that an event of the monitor amounts to, if it does."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise NotPaired(f"the backend at {self._where} does not know this computer")
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._welcomed = True
        elif event == zmq.EVENT_DISCONNECTED and self._welcomed:
            # ZeroMQ would connect again, but what was asked over the old connection is answered to nobody.
            raise ConnectionLost(f"the connection to {self._where} was lost")
        elif event in _FAILURES:
            self._failures += 1
            if self._failures >= _HANDSHAKES_FAILED:
                raise WrongBackend(f"what answers at {self._where} is not the backend that was paired with")


def _options(pairing: Pairing) -> dict[int, int | bytes]:
    # No ZMTP heartbeats: libzmq 4.3.5 aborts the whole process when one falls due on a connection that broke while its
    # input was stopped. An answer that does not come in time tells as much, and also of a backend that hangs.
    milliseconds = 1000
    secret = z85.encode(pairing.secret)
    return {
        zmq.CURVE_SERVERKEY: z85.encode(pairing.server_key),
        zmq.CURVE_PUBLICKEY: zmq.curve_public(secret),
        zmq.CURVE_SECRETKEY: secret,
        zmq.IPV6: 1,
        zmq.LINGER: 0,
        # Requests for a backend that is not there must not pile up and all arrive later.
        zmq.IMMEDIATE: 1,
        zmq.MAXMSGSIZE: limits.FRAME_BYTES,
        zmq.SNDHWM: limits.QUEUED_MESSAGES,
        zmq.RCVHWM: limits.QUEUED_MESSAGES,
        zmq.HANDSHAKE_IVL: int(limits.HANDSHAKE_SECONDS * milliseconds),
        zmq.RECONNECT_IVL: int(limits.RECONNECT_FIRST_SECONDS * milliseconds),
        zmq.RECONNECT_IVL_MAX: int(limits.RECONNECT_MOST_SECONDS * milliseconds),
    }
