"""A connection to one backend: questions, their answers, and what is done when it breaks.

Every request may be asked again, so a lost answer is cured by a new socket and the same request; `Patience` says for
how long. A `Connection` is for one thread.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from . import limits
from .errors import ConnectionLost, LinkError, NotPaired, ProtocolError, Stopped, Unreachable, WrongBackend
from .messages import Message, Refused, decode, encode
from .pairing import Pairing

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


class Connection:
    """Speaks to the backend that `pairing` names."""

    def __init__(self, pairing: Pairing, patience: Patience) -> None:
        self._pairing = pairing
        self._patience = patience
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

    def ask(self, message: Message, kind: type[M], wait: float = 0.0) -> M:
        """The answer to `message`, which the backend is asked to give within `wait` seconds."""
        return self.patiently(lambda: self.answer(self.send(message), kind, wait))

    def patiently(self, attempt: Callable[[], T]) -> T:
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

    def send(self, message: Message) -> int:
        """Ask without waiting; the number to get the answer by."""
        number = next(self._numbers)
        self._connected().send(encode(message, number), limits.REPLY_SECONDS)
        return number

    def answer(self, number: int, kind: type[M], wait: float = 0.0) -> M:
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
            self._link = _Link(self._context, self._pairing, self._stopped)
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
