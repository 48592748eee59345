"""How a backend with a hundred machines keeps up: python tests/faults/flock.py --jobs 1000 --clients 20

The machines are simulated (flock_bridge.py), everything on this side of the bridge is real. Prints how long ticks
took, in which the server answers nobody, and how late events reached clients. Exit code 1 if a job was lost or done
twice; with --strict also if that took too long.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from nemesis import HERE, free_port

from backend.service import server
from backend.service.cluster.executor import RayExecutor
from backend.service.dispatch import Dispatcher
from backend.service.keys import KeyRing
from backend.service.server import Address
from backend.service.shelf import Shelf
from shared.client import Client, Patience
from shared.jobs import Generation, new_job_id
from shared.pairing import Pairing
from shared.states import State

BATCH = 8


class Artist(threading.Thread):
    """Submits jobs and follows them until all are done. late: seconds between each event and its arrival."""

    def __init__(self, pairing: Pairing, jobs: int) -> None:
        super().__init__()
        self.pairing, self.jobs = pairing, jobs
        self.late: list[float] = []
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        client = Client(self.pairing, "tests", Patience(None))
        cursor, live = client.news(None, 0, 0.0).cursor, 0
        for first in range(0, self.jobs, BATCH):
            ids = tuple(new_job_id() for _ in range(min(BATCH, self.jobs - first)))
            client.submit(ids, Generation("a red mug"))
        while len(self.done) < self.jobs:
            news = client.news(cursor, live, 1.0)
            self.late += [time.time() - event.at for event in news.events]
            self.done.update(event.job for event in news.events if event.state == State.DONE)
            cursor, live = news.cursor, news.live
        client.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--strict", action="store_true", help="Fail if a tick or an event took too long.")
    options = parser.parse_args()
    ticks: list[float] = []
    tick = Dispatcher.tick

    def timed(dispatcher: Dispatcher, now: float) -> bool:
        begun = time.perf_counter()
        changed = tick(dispatcher, now)
        ticks.append(time.perf_counter() - begun)
        return changed

    Dispatcher.tick = timed
    with tempfile.TemporaryDirectory(prefix="flock-") as name:
        artists = serve(Path(name), options.jobs // options.clients, options.clients)
    late = sorted(seconds for artist in artists for seconds in artist.late)
    ticks.sort()
    done = [count for artist in artists for count in artist.done.values()]
    print(
        f"{len(done)} of {options.jobs} jobs done, {sum(count > 1 for count in done)} twice, {options.clients} clients"
    )
    print(f"{len(ticks)} ticks: median {1000 * statistics.median(ticks):.1f} ms, ", end="")
    print(f"p99 {1000 * ticks[int(0.99 * len(ticks))]:.1f} ms, longest {1000 * ticks[-1]:.1f} ms")
    p99 = late[int(0.99 * len(late))]
    print(f"{len(late)} events: median {1000 * statistics.median(late):.0f} ms, p99 {1000 * p99:.0f} ms")
    slow = options.strict and (ticks[int(0.99 * len(ticks))] > 0.05 or p99 > 1.0)
    return int(slow or len(done) != options.jobs or max(done) > 1)


def serve(folder: Path, jobs: int, clients: int) -> list[Artist]:
    keys, port = KeyRing(folder / "keys"), free_port()
    artists: list[Artist] = []

    def ready(address: Address) -> None:
        local = keys.read_local()
        assert local
        for index in range(clients):
            pairing = Pairing("127.0.0.1", port, local.server_key, keys.pair(f"artist {index}"))
            artists.append(Artist(pairing, jobs))
            artists[-1].start()

    server.serve(
        folder / "service",
        keys,
        Address("127.0.0.1", port),
        lambda: RayExecutor("cuda", folder / "logs", (sys.executable, str(HERE / "flock_bridge.py")), Shelf().models),
        "cuda",
        ready,
        lambda: bool(artists) and not any(artist.is_alive() for artist in artists),
    )
    return artists


if __name__ == "__main__":
    sys.exit(main())
