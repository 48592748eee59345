"""The server: one socket, the hub behind it, and the loop that carries messages between them."""

import importlib.metadata
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zmq

from backend.service import addresses, auth
from backend.service.auth import Gate
from backend.service.catalogue import Catalogue
from backend.service.dispatch import Dispatcher
from backend.service.executor import Executor
from backend.service.hub import Hub, Reply
from backend.service.keys import KeyRing
from backend.service.retention import Retention
from backend.service.store import Store
from shared.errors import ProtocolError
from shared.messages import decode, encode

logger = logging.getLogger(__name__)

AT_ONCE = 64
"""Messages handled before jobs get their turn."""

IDLE_SECONDS = 0.5
"""The longest sleep of the loop: within it, stopping is noticed, and the executor looks after its processes."""


@dataclass(frozen=True)
class Address:
    """Where to listen. port 0: any free one."""

    host: str
    port: int


def serve(
    folder: Path,
    keys: KeyRing,
    address: Address,
    executor: Callable[[], Executor],
    device: str,
    ready: Callable[[Address], None],
    stopping: Callable[[], bool],
    clock: Callable[[], float] = time.time,
) -> None:
    """Serve until `stopping`. ready: called with the address once clients are let in.

    executor: makes it, once it is sure that this server may use `folder`. device: the kind that jobs run on. Raises
    UserError if the server cannot or must not start.
    """
    with ExitStack() as stack:
        store = Store(folder, clock)
        stack.callback(store.close)
        store.recover()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.term)
        gate = stack.enter_context(Gate(context, keys))
        socket = auth.bound(context, gate, address.host, address.port)
        stack.callback(socket.close)
        early = auth.self_test(socket, gate)
        workers = executor()
        stack.callback(workers.close)
        catalogue = Catalogue(device, store.jobs.durations, workers.facts)
        version = importlib.metadata.version("dreamtime")
        dispatcher = Dispatcher(store, workers, keys.admits)
        hub = Hub(store, dispatcher, catalogue.offer, catalogue.check, catalogue.words, clock, version)
        loop = Loop(socket, hub, gate)
        bound = Address(address.host, auth.port_of(socket))
        keys.local(addresses.from_here(bound.host), bound.port)
        ready(bound)
        for frames in early:
            loop.take(frames)
        _run(loop, workers, Retention(store, clock), stopping)


def _run(loop: "Loop", workers: Executor, retention: Retention, stopping: Callable[[], bool]) -> None:
    poller = zmq.Poller()
    poller.register(loop.socket, zmq.POLLIN)
    poller.register(workers.fileno(), zmq.POLLIN)
    while not stopping():
        poller.poll(round(1000 * loop.pause()))
        loop.turn()
        retention.tick(time.monotonic())


class Loop:
    """Carries messages between a socket and the hub."""

    def __init__(self, socket: "zmq.Socket[bytes]", hub: Hub, gate: Gate) -> None:
        self.socket = socket
        self._hub = hub
        self._gate = gate

    def pause(self) -> float:
        """Seconds until something has to be done even if nobody writes."""
        due = self._hub.due()
        return IDLE_SECONDS if due is None else min(max(due - time.monotonic(), 0.0), IDLE_SECONDS)

    def turn(self) -> None:
        """Handle what has arrived, and let jobs go on."""
        for _ in range(AT_ONCE):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            self.take(frames)
        self._send(self._hub.tick(time.monotonic()))

    def take(self, frames: Sequence[zmq.Frame]) -> None:
        """Handle one message. Those of strangers are dropped; that of an artist whose key was revoked, too."""
        owner = auth.owner_of(frames)
        if not self._gate.admits(owner):
            return
        self._gate.keys.seen(owner)
        peer = frames[0].bytes
        try:
            number, message = decode([frame.bytes for frame in frames[1:]])
        except ProtocolError as error:
            self._send(self._hub.misread(peer, owner, error, time.monotonic()))
            return
        self._send(self._hub.handle(peer, owner, number, message, time.monotonic()))

    def _send(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            try:
                self.socket.send_multipart([reply.peer, *encode(reply.message, reply.number)], zmq.NOBLOCK)
            except zmq.Again:  # the client reads too slowly, and will ask again
                continue
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                self._hub.gone(reply.peer)
