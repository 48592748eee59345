"""Knock at the backend's socket as those do who may not come in. python tests/faults/strangers.py --tries 1000

The contract: no message of theirs comes out of the socket, a paired client is served as before, and memory and open
files stay as they are. Exit code 1 if not.
"""

import argparse
import gc
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import zmq
from zmq.utils import z85

from backend.service.auth import Gate, bound, owner_of, port_of
from backend.service.keys import KeyRing

AT_ONCE = 50
PATIENCE_SECONDS = 60.0
GROWTH_BYTES = 50 * 2**20
GROWTH_FILES = 10
HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

Keys = tuple[bytes, bytes]


class Backend:
    """A bound router behind the gate. It answers who is admitted, and counts what comes from anybody else."""

    def __init__(self, folder: Path) -> None:
        self.ring = KeyRing(folder)
        self.good, self.revoked = self._paired("good"), self._paired("revoked")
        self.ring.revoke("revoked")
        self.reached = 0
        self.port = 0
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _paired(self, name: str) -> Keys:
        secret = z85.encode(self.ring.pair(name))
        return zmq.curve_public(secret), secret

    def __enter__(self) -> "Backend":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with zmq.Context() as context, Gate(context, self.ring) as gate:
            router = bound(context, gate, "127.0.0.1", 0)
            self.port = port_of(router)
            self._ready.set()
            while not self._stop.is_set():
                if router.poll(50):
                    self._take(router, gate)
            router.close()

    def _take(self, router: "zmq.Socket[bytes]", gate: Gate) -> None:
        frames = router.recv_multipart(copy=False)
        if owner_of(frames) == self.good[0].decode() and gate.admits(owner_of(frames)):
            router.send_multipart([frame.bytes for frame in frames])
        else:
            self.reached += 1


@dataclass(frozen=True)
class Caller:
    """How a client of ZeroMQ introduces itself: with a key pair, the server's key, or a password."""

    keys: Callable[[], Keys] | None = None
    server_key: Callable[[], bytes] | None = None
    password: bool = False

    def introduce(self, client: "zmq.Socket[bytes]") -> None:
        if self.keys and self.server_key:
            client.curve_publickey, client.curve_secretkey = self.keys()
            client.curve_serverkey = self.server_key()
        if self.password:
            client.plain_username, client.plain_password = b"admin", b"admin"


@contextmanager
def calling(context: "zmq.Context[zmq.Socket[bytes]]", port: int, caller: Caller) -> Iterator["zmq.Socket[bytes]"]:
    """A client that calls once, sends a message as far as it is let in, and hangs up."""
    client = context.socket(zmq.DEALER)
    monitor = client.get_monitor_socket(HANDSHAKE_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    client.linger, client.reconnect_ivl = 0, -1
    caller.introduce(client)
    client.connect(f"tcp://127.0.0.1:{port}")
    try:
        with suppress(zmq.Again):  # it was refused already
            client.send_multipart([b"DT\0\4", b"{}"], zmq.NOBLOCK)
        yield client
    finally:
        client.disable_monitor()
        monitor.close()
        client.close()


def call(backend: Backend, caller: Caller, tries: int) -> int:
    """Call so many times, many at once. Returns how many were let in, or never got an answer."""
    wrong = 0
    with zmq.Context() as context:
        for begun in range(0, tries, AT_ONCE):
            with ExitStack() as stack:
                batch = [
                    stack.enter_context(calling(context, backend.port, caller))
                    for _ in range(min(AT_ONCE, tries - begun))
                ]
                for client in batch:
                    monitor = client.get_monitor_socket()
                    refused = monitor.poll(PATIENCE_SECONDS * 1000) and (
                        zmq.utils.monitor.recv_monitor_message(monitor)["event"] & HANDSHAKE_FAILED
                    )
                    wrong += not refused
    return wrong


def greeting(mechanism: bytes, version: bytes = b"\3\0", server: bool = False) -> bytes:
    """The 64 bytes with which a connection of ZMTP 3 begins."""
    return b"\xff" + bytes(8) + b"\x7f" + version + mechanism.ljust(20, b"\0") + bytes([server]) + bytes(31)


def command(name: bytes, data: bytes) -> bytes:
    body = bytes([len(name)]) + name + data
    return bytes([4, len(body)]) + body if len(body) < 256 else b"\6" + len(body).to_bytes(8, "big") + body


MESSAGE = b"\1\4DT\0\2\0\2{}"
READY = command(b"READY", b"\x0bSocket-Type\0\0\0\6DEALER\x08Identity\0\0\0\0")
HELLO = b"\1\0" + bytes(72)  # version and padding; a client's temporary key, a nonce and a box would follow
PLAINLY = [
    [greeting(b"NULL"), READY, MESSAGE],
    [b"\1\0", b"\5\1DT\0\2", b"\3\0{}"],  # ZMTP 1.0: an identity, then a message; it knows no encryption
    [b"\xff" + bytes(8) + b"\x7f\1", b"\5\0\0", MESSAGE],  # nor does ZMTP 2.0
]
"""What a socket without locks takes for a message."""


def noise(draw: random.Random) -> list[bytes]:
    """What a raw TCP connection sends, piece by piece: junk, and protocols that are right up to some point."""
    curve = greeting(b"CURVE")
    match draw.randrange(8):
        case 0:
            return [draw.randbytes(draw.randrange(2000))]
        case 1:
            return [curve[: draw.randrange(len(curve))]]
        case 2:
            return [curve, draw.randbytes(draw.randrange(400))]
        case 3:
            return [curve, command(b"HELLO", HELLO + draw.randbytes(120))]
        case 4:
            return [curve, command(b"HELLO", HELLO + draw.randbytes(120)), command(b"INITIATE", draw.randbytes(300))]
        case 5:  # as if all were settled already
            return [draw.choice([curve, greeting(b"PLAIN"), greeting(b"NULL", server=True)]), READY, MESSAGE]
        case 6:
            return draw.choice(PLAINLY)
    return [draw.choice([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\3\1\2\0", MESSAGE, curve * 50, bytes(5000)])]


def send(raw: socket.socket, pieces: list[bytes]) -> None:
    """Send the first piece, wait for the beginning of the answer, and send the rest, each by itself."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError):  # the backend has hung up already
        for number, piece in enumerate(pieces):
            raw.sendall(piece)
            if number == 0:
                raw.recv(4096)
        raw.shutdown(socket.SHUT_WR)


def connect_raw(backend: Backend, draw: random.Random, tries: int) -> int:
    """Send noise so many times over connections of TCP. Returns how many the backend kept open."""
    kept = 0
    for begun in range(0, tries, AT_ONCE):
        with ExitStack() as stack:
            batch = []
            for _ in range(min(AT_ONCE, tries - begun)):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", backend.port), PATIENCE_SECONDS))
                batch.append(raw)
                send(raw, noise(draw))
            kept += sum(not hung_up(raw) for raw in batch)
    return kept


def hung_up(raw: socket.socket) -> bool:
    try:
        while raw.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:  # reset
        return True
    return True


def good_client_works(backend: Backend) -> bool:
    """Whether a paired client gets an answer."""
    caller = Caller(lambda: backend.good, lambda: backend.ring.server[0])
    with zmq.Context() as context, calling(context, backend.port, caller) as client:
        return bool(client.poll(PATIENCE_SECONDS * 1000)) and client.recv_multipart() == [b"DT\0\4", b"{}"]


def kinds(backend: Backend, draw: random.Random) -> dict[str, Callable[[int], int]]:
    def server() -> bytes:
        return backend.ring.server[0]

    callers = {
        "no CURVE": Caller(),
        "password instead of a key": Caller(password=True),
        "unknown key": Caller(zmq.curve_keypair, server),
        "wrong server key": Caller(lambda: backend.good, lambda: zmq.curve_keypair()[0]),
        "revoked key": Caller(lambda: backend.revoked, server),
        "a paired public key without its secret": Caller(lambda: (backend.good[0], zmq.curve_keypair()[1]), server),
    }
    ways: dict[str, Callable[[int], int]] = {
        name: lambda tries, caller=caller: call(backend, caller, tries)  # type: ignore[misc]
        for name, caller in callers.items()
    }
    return {**ways, "raw TCP noise": lambda tries: connect_raw(backend, draw, tries)}


def state() -> tuple[int, int]:
    """Bytes of memory and open files of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds() if hasattr(process, "num_fds") else process.num_handles()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, failed = random.Random(options.seed), False
    with tempfile.TemporaryDirectory() as folder, Backend(Path(folder) / "keys") as backend:
        ways = kinds(backend, draw)
        for way in ways.values():  # until caches are full
            way(min(AT_ONCE, options.tries))
        backend.reached, before = 0, state()
        for name, way in ways.items():
            began, already = time.monotonic(), backend.reached
            wrong = way(options.tries)
            works = good_client_works(backend)
            reached = backend.reached - already
            print(f"{name}: {options.tries:,} tries, {reached} reached, {time.monotonic() - began:.1f} s")
            if wrong or not works:
                print(f"  {wrong} were not turned away; a good client {'works' if works else 'does not work'}")
            failed |= bool(wrong or reached or not works)
        memory, files = (now - then for now, then in zip(state(), before, strict=True))
    failed |= backend.reached > 0
    print(
        f"a good client {'was served after each kind' if not failed else 'may not have been served'}; "
        f"memory grew by {memory / 2**20:.1f} MiB, open files by {files}"
    )
    return int(failed or memory > GROWTH_BYTES or files > GROWTH_FILES)


if __name__ == "__main__":
    sys.exit(main())
