"""The one socket that the network can reach, and the proof that it refuses strangers.

CURVE encrypts but by itself admits anyone who knows the backend's public key, and a ZAP domain without a handler
admits everybody unless it is enforced. So both are set, and `self_test` tries the bound socket as strangers would
before the backend says that it is ready.
"""

import asyncio
import errno
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import monitor

from backend.errors import UserError
from backend.service.addresses import endpoint, from_here, is_loopback, numeric
from backend.service.keys import LOCAL, KeyRing
from shared import limits

DOMAIN = b"dreamtime"
"""The ZAP domain. pyzmq looks it up literally: a handler for "*" would refuse everybody."""

_LARGEST_PORT = 65535
_SELF_TEST_SECONDS = 30.0  # of a busy machine; it takes a few milliseconds
_REFUSED_BY_ZAP = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_REFUSED = _REFUSED_BY_ZAP | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_HANDSHAKE = _REFUSED | zmq.EVENT_HANDSHAKE_SUCCEEDED


class Gate:
    """Answers ZeroMQ's question whether a key may come in, for all CURVE sockets of a context, while it is entered."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: KeyRing) -> None:
        self.keys = keys
        self._temporary: frozenset[str] = frozenset()
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.configure_curve_callback(DOMAIN.decode(), self)

    def __enter__(self) -> "Gate":
        if sys.platform == "win32":
            # The authenticator's thread waits for sockets in an event loop, which Windows' usual one cannot.
            asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
        self._authenticator.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._authenticator.is_alive():
            # It would be told to stop over this pipe, and that would wait for ever for a thread that has died.
            self._authenticator.pipe.close()
            self._authenticator.pipe = None  # type: ignore[assignment]  # as it is before it starts
        self._authenticator.stop()

    def admits(self, owner: str) -> bool:
        """Whether messages of this key are answered now; to be asked for each, as connections outlive a revocation."""
        return owner in self._temporary or self.keys.admits(owner)

    def callback(self, domain: str, key: bytes) -> bool:
        """The authenticator's question, asked in its thread: it must never raise."""
        return self.admits(key.decode())

    @contextmanager
    def temporary(self) -> Iterator[tuple[bytes, bytes]]:
        """A key pair, Z85, that is admitted until the end of the block."""
        public, secret = zmq.curve_keypair()
        self._temporary |= {public.decode()}
        try:
            yield public, secret
        finally:
            self._temporary -= {public.decode()}


def bound(context: zmq.Context[zmq.Socket[bytes]], gate: Gate, host: str, port: int) -> zmq.Socket[bytes]:
    """The backend's ROUTER, bound; its messages must be received as frames, so that `owner_of` can tell the sender.

    host: an address of this machine, or 0.0.0.0 or :: for all of them. port: 0 takes any free one.
    Raises UserError if the address cannot be had, and if others can reach it but no client was paired.
    """
    address, keys = numeric(host), gate.keys.server
    if not 0 <= port <= _LARGEST_PORT:  # ZeroMQ would take the rest of a division
        raise UserError(f"{port} is no port; give one from 1 to {_LARGEST_PORT}")
    if not is_loopback(address) and all(client.name == LOCAL for client in gate.keys.clients()):
        raise UserError(
            f"others could reach {host}, but no client is paired; run dreamtime pair NAME first, or serve on 127.0.0.1"
        )
    router = context.socket(zmq.ROUTER)
    try:
        _configure(router, keys)
        router.ipv6 = ":" in address
        router.bind(endpoint(address, port))
    except zmq.ZMQError as error:
        router.close()
        raise _not_bound(host, port, error) from error
    return router


def _configure(router: zmq.Socket[bytes], keys: tuple[bytes, bytes]) -> None:
    router.curve_publickey, router.curve_secretkey = keys
    router.curve_server = True
    router.zap_domain = DOMAIN
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a handler nobody comes in, instead of everybody
    router.linger = 0
    router.router_mandatory = True
    router.router_handover = False  # else one client could take another's place by its routing id
    router.maxmsgsize = limits.FRAME_BYTES
    router.sndhwm = router.rcvhwm = limits.QUEUED_MESSAGES
    router.handshake_ivl = _milliseconds(limits.HANDSHAKE_SECONDS)
    # No ZMTP heartbeats, with which libzmq 4.3.5 can abort (see shared/connection.py). TCP finds dead ones, later.
    router.tcp_keepalive = 1
    router.tcp_keepalive_idle = round(limits.KEEPALIVE_SECONDS)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _not_bound(host: str, port: int, error: zmq.ZMQError) -> UserError:
    if error.errno == zmq.EADDRINUSE:
        return UserError(f"port {port} is taken, perhaps by a backend that runs already; stop it or serve with --port")
    if error.errno in (zmq.EADDRNOTAVAIL, errno.ENODEV):
        return UserError(f"{host} is not an address of this machine; serve on 127.0.0.1, or on one that is")
    return UserError(f"cannot listen on {host} port {port} ({error.strerror}); serve with another --port or --host")


def port_of(router: zmq.Socket[bytes]) -> int:
    """The port that a socket is bound to."""
    return _address_of(router)[1]


def owner_of(frames: Sequence[zmq.Frame]) -> str:
    """The public key, Z85, of the client that sent a message; it is also the owner of its jobs.

    "" if no key vouches for the message: that is admitted nowhere.
    """
    try:
        return str(frames[-1]["User-Id"])
    except zmq.ZMQError:
        return ""


@dataclass(frozen=True)
class _Caller:
    """One who tries to come in. text: the message that it sends. allowed: the events that may end its handshake."""

    name: str
    allowed: int
    socket: zmq.Socket[bytes]
    events: zmq.Socket[bytes]
    text: bytes


def self_test(router: zmq.Socket[bytes], gate: Gate) -> list[list[zmq.Frame]]:
    """Prove on the bound socket that strangers are refused and clients are not; to be done before serving.

    Returns the messages of real clients that came meanwhile, to be handled as usual. Takes milliseconds, and at
    most 2 s. Raises UserError if the backend must not serve.
    """
    with ExitStack() as stack:
        friend_keys = stack.enter_context(gate.temporary())
        server_key = gate.keys.server[0]
        stranger = _caller(router, "a client with an unknown key", _REFUSED_BY_ZAP, server_key, zmq.curve_keypair())
        stack.callback(_hang_up, stranger)
        plain = _caller(router, "a client without a key", _REFUSED)
        stack.callback(_hang_up, plain)
        friend = _caller(router, "a paired client", zmq.EVENT_HANDSHAKE_SUCCEEDED, server_key, friend_keys)
        stack.callback(_hang_up, friend)
        test = _SelfTest([stranger, plain], friend, friend_keys[0].decode())
        return test.run(router)


def _caller(
    router: zmq.Socket[bytes],
    name: str,
    allowed: int,
    server_key: bytes | None = None,
    keys: tuple[bytes, bytes] | None = None,
) -> _Caller:
    """A client that calls the router from this machine, once, and has sent its message as far as it is let in."""
    socket = router.context.socket(zmq.DEALER)
    events = socket.get_monitor_socket(_HANDSHAKE)
    socket.linger = 0
    socket.reconnect_ivl = -1
    if server_key and keys:
        socket.curve_serverkey = server_key
        socket.curve_publickey, socket.curve_secretkey = keys
    host, port = _address_of(router)
    socket.ipv6 = router.ipv6
    socket.connect(endpoint(from_here(host), port))
    text = secrets.token_bytes(16)
    with suppress(zmq.Again):  # it was refused already
        socket.send(text, zmq.NOBLOCK)
    return _Caller(name, allowed, socket, events, text)


def _address_of(router: zmq.Socket[bytes]) -> tuple[str, int]:
    found = urlsplit(router.get_string(zmq.LAST_ENDPOINT))
    return found.hostname or "", found.port or 0


def _hang_up(caller: _Caller) -> None:
    caller.socket.disable_monitor()
    caller.events.close()
    caller.socket.close()


class _SelfTest:
    """What is still to be seen before strangers are known to be refused and friends to be let in."""

    def __init__(self, strangers: list[_Caller], friend: _Caller, owner: str) -> None:
        self._strangers, self._friend, self._owner = strangers, friend, owner
        self._awaited = {caller.events: caller for caller in (*strangers, friend)}
        self._heard = False
        self._others: list[list[zmq.Frame]] = []

    def run(self, router: zmq.Socket[bytes]) -> list[list[zmq.Frame]]:
        poller = zmq.Poller()
        for socket in (router, *self._awaited):
            poller.register(socket, zmq.POLLIN)
        deadline = time.monotonic() + _SELF_TEST_SECONDS
        while self._awaited or not self._heard:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late()
            ready = dict(poller.poll(_milliseconds(left)))
            for events in self._awaited.keys() & ready.keys():
                self._take_event(events)
            if router in ready:
                self._take_message(router)
        while router.poll(0) and time.monotonic() < deadline:
            self._take_message(router)
        return self._others

    def _take_event(self, events: zmq.Socket[bytes]) -> None:
        caller = self._awaited.pop(events)
        event = monitor.recv_monitor_message(events)["event"]
        if not event & caller.allowed:
            raise _unsafe(f"{caller.name} met {zmq.Event(event).name}")

    def _take_message(self, router: zmq.Socket[bytes]) -> None:
        frames = router.recv_multipart(copy=False)
        text = frames[-1].bytes
        if any(text == stranger.text for stranger in self._strangers):
            raise _unsafe("a stranger's message came in")
        if text != self._friend.text:
            self._others.append(frames)
        elif owner_of(frames) == self._owner:
            self._heard = True
        else:
            raise _unsafe("a message came in under another's name")

    def _late(self) -> UserError:
        late = [caller.name for caller in self._awaited.values()] or [f"the message of {self._friend.name}"]
        return _unsafe(f"nothing was heard of {' and '.join(late)} in {_SELF_TEST_SECONDS:g} s")


def _unsafe(found: str) -> UserError:
    return UserError(
        f"the self-test of the locks failed ({found}), so nothing is served; reinstall pyzmq, and try again"
    )
