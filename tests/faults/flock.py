"""How a backend with a hundred machines keeps up: python tests/faults/flock.py --jobs 1000 --clients 20

The machines are simulated (flock_bridge.py), everything on this side of the bridge is real. Prints how long ticks
took, in which the server answers nobody, and how late events reached clients. Exit code 1 if a job was lost or done
twice; with --strict also if that took too long.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
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


@dataclass
class Artist:
    """Submits jobs and follows them until all are done.

    Like the add-on, it asks for what is new between two submits, too. late: seconds between each event and its arrival.
    """

    pairing: Pairing
    jobs: int
    late: list[float] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def work(self) -> "Artist":
        cursor, live = None, 0
        with Client(self.pairing, "tests", Patience(None)) as client:
            for first in range(0, self.jobs, BATCH):
                cursor, live = self.listen(client, cursor, live, 0.0)
                ids = tuple(new_job_id() for _ in range(min(BATCH, self.jobs - first)))
                client.submit(ids, Generation("a red mug"))
            while len(self.done) < self.jobs:
                cursor, live = self.listen(client, cursor, live, 1.0)
        return self

    def listen(self, client: Client, cursor: int | None, live: int, wait: float) -> tuple[int, int]:
        news = client.news(cursor, live, wait)
        self.late += [time.time() - event.at for event in news.events]
        self.done.update(event.job for event in news.events if event.state == State.DONE)
        return news.cursor, news.live


def at_once(artists: list[Artist]) -> list[Artist]:
    with ThreadPoolExecutor(len(artists)) as threads:
        return list(threads.map(Artist.work, artists))


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
    """What became of the artists, who work in a process of their own: theirs is not the time of the server's."""
    keys, port = KeyRing(folder / "keys"), free_port()
    work: list[Future[list[Artist]]] = []

    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:

        def ready(address: Address) -> None:
            local = keys.read_local()
            assert local
            keyed = [keys.pair(f"artist {index}") for index in range(clients)]
            artists = [Artist(Pairing("127.0.0.1", port, local.server_key, key), jobs) for key in keyed]
            work.append(elsewhere.submit(at_once, artists))

        server.serve(
            folder / "service",
            keys,
            Address("127.0.0.1", port),
            lambda: RayExecutor(
                "cuda", folder / "logs", (sys.executable, str(HERE / "flock_bridge.py")), Shelf().models
            ),
            "cuda",
            ready,
            lambda: bool(work) and work[0].done(),
        )
    return work[0].result()


if __name__ == "__main__":
    sys.exit(main())
