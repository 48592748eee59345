"""Send a running server what no client sends. python tests/faults/flood.py --messages 100000 --seed 0

A paired client with a key that is in order sends malformed messages, some of them too large for any connection,
while a good client goes on asking. Exit code 1 if the server ends, answers the good client late or not at all, answers
a malformed message with anything but a refusal, or grows.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import zmq
from malformed import WAYS, samples

from backend.service.keys import KeyRing
from shared import limits
from shared.client import Client
from shared.errors import ProtocolError
from shared.limits import FRAME_BYTES
from shared.messages import Refused, decode

HERE = Path(__file__).parent
GROWTH_BYTES = 50 * 2**20
OVERSIZED_EVERY = 5000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=2.0, help="Seconds in which the good client has its answers.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "host.py"), folder, "0"]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
            try:
                assert server.stdout
                assert server.stdout.readline().startswith(b"ready")
                return flooded(server, KeyRing(Path(folder) / "keys"), options)
            finally:
                server.terminate()


def flooded(server: "subprocess.Popen[bytes]", keys: KeyRing, options: argparse.Namespace) -> int:
    limits.REPLY_SECONDS = max(limits.REPLY_SECONDS, options.within)
    pairing, process = keys.read_local(), psutil.Process(server.pid)
    assert pairing
    mallory = replace(pairing, secret=keys.pair("mallory"))
    count, draw, valid = options.messages, random.Random(options.seed), samples()
    answers: Counter[str] = Counter()
    delays: list[float] = []
    began = time.monotonic()
    with Client(pairing, "flood") as good, Client(mallory, "flood") as bad:
        good.hello()
        before, sent = process.memory_info().rss, 0
        while sent < count:
            socket = bad._connection._connected()._socket
            for _ in range(200):
                frames = malformed(valid, draw)
                socket.send_multipart(frames)
                sent += 1
                read(socket, answers)
            if sent % OVERSIZED_EVERY == 0:
                oversized(bad)
            asked = time.monotonic()
            good.hello()
            delays.append(time.monotonic() - asked)
        while bad._connection._connected()._socket.poll(200):
            read(bad._connection._connected()._socket, answers)
        good.hello()
    grown = process.memory_info().rss - before
    print(
        f"malformed messages over sockets: {count:,} in {time.monotonic() - began:.0f} s, "
        f"answers: {dict(answers)}, server ended: {server.poll() is not None}, memory grew by {grown / 2**20:.1f} MiB; "
        f"a good client's HELLO meanwhile: median {1e3 * statistics.median(delays):.1f} ms, "
        f"longest {1e3 * max(delays):.0f} ms"
    )
    return int(server.poll() is not None or grown > GROWTH_BYTES or max(delays) > options.within or "other" in answers)


def malformed(valid: list[list[bytes]], draw: random.Random) -> list[bytes]:
    """Frames that decode to nothing."""
    while True:
        frames = draw.choice(WAYS)(draw.choice(valid), draw) or [b""]
        try:
            decode(frames)
        except ProtocolError:
            return frames


def read(socket: "zmq.Socket[bytes]", answers: Counter[str]) -> None:
    """Count what has been answered: only refusals are in order."""
    while socket.poll(0):
        _, message = decode(socket.recv_multipart())
        answers[message.code if isinstance(message, Refused) else "other"] += 1


def oversized(client: Client) -> None:
    """A frame that ZeroMQ itself refuses: it closes the connection."""
    client._connection._connected()._socket.send_multipart([b"DT\0\4", bytes(FRAME_BYTES + 1)])
    client._connection._drop_link()


if __name__ == "__main__":
    sys.exit(main())
