"""Kill the machines of a Ray cluster, and the server, at random instants, and count what was lost.

    python tests/faults/cluster.py --kills 100 --server-kills 10 --seed 0

Artists (artist.py) have a backend (cluster_host.py) whose fake workers sit on the nodes of a cluster on this machine
(machinery.py). Nodes are killed, others are added; after each burst the time is taken until every artist knows the true
states and no job is thought to run on a node that is gone. In the end all jobs must be finished, and every result
there, once and whole. Exit code 1 if not.
"""

import argparse
import contextlib
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cluster_host import FAKE
from findings import Findings, view
from machinery import Machinery
from nemesis import HERE, Process, drain, free_port

from backend.service.keys import KeyRing
from shared.client import Client, Patience
from shared.pairing import Pairing

ARTISTS = 3
NODES = 3


class World:
    """A backend on a cluster, its artists, and what can happen to them."""

    def __init__(self, folder: Path, seed: int, machinery: Machinery) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.node_kills = self.server_kills = 0
        self.machinery = machinery
        for _ in range(NODES):
            self.machinery.add()
        port = free_port()
        environment = self.machinery.environment
        command = [sys.executable, str(HERE / "cluster_host.py"), str(folder), str(port), self.machinery.address, FAKE]
        self.server = Process(command, folder / "server.log", environment)
        self.server.ready.wait(120)
        keys = KeyRing(folder / "keys")
        local = keys.read_local()
        assert local
        self.artists, self.clients = [], []
        for index, home in enumerate(self.homes()):
            home.mkdir()
            pairing = Pairing("127.0.0.1", port, local.server_key, keys.pair(f"artist {index}"))
            (home / "pairing").write_text(str(pairing))
            command = [sys.executable, str(HERE / "artist.py"), str(home), str(seed + index)]
            self.artists.append(Process(command, home / "log", environment))
            self.clients.append(Client(pairing, "tests", Patience(None)))
        self.owners = {client.name: client.public for client in keys.clients()}

    def homes(self) -> list[Path]:
        return [self.folder / f"artist{index}" for index in range(ARTISTS)]

    def burst(self, kills: int, server: bool) -> None:
        """Kill so many nodes while jobs run, and perhaps the server; then add as many."""
        deadline = time.monotonic() + 120
        while not self.devices() and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(kills):
            time.sleep(self.draw.uniform(0.1, 1.5))
            self.machinery.kill(self.draw.choice(list(self.machinery.nodes)))
            self.node_kills += 1
        if server:
            time.sleep(self.draw.uniform(0.0, 0.5))
            self.server.kill()
            self.server.revive()
            self.server_kills += 1
        while len(self.machinery.nodes) < NODES:
            self.machinery.add()

    def recovery(self) -> float:
        """Seconds until the artists know all that has happened, and nothing runs where nothing is."""
        quiet = time.monotonic()
        while time.monotonic() - quiet < 300:
            if self.server.ready.is_set() and self.known(quiet) and self.placed():
                return time.monotonic() - quiet
            for process in (self.server, *self.artists):
                process.revive()
            time.sleep(0.05)
        return float("inf")

    def known(self, since: float) -> bool:
        with contextlib.closing(self.truth()) as database:
            last = dict(database.execute("SELECT owner, max(seq) FROM events GROUP BY owner").fetchall())
        views = [view(home) for home in self.homes()]
        return all(
            seen["at"] > since and seen["cursor"] >= last.get(self.owners[f"artist {index}"], 0)
            for index, seen in enumerate(views)
        )

    def placed(self) -> bool:
        return all(device.partition("/")[0] in self.machinery.nodes for device in self.devices())

    def devices(self) -> set[str]:
        """Where jobs run, as the server says."""
        return {job.device for client in self.clients for job in client.jobs() if job.device}

    def truth(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.folder}/service/jobs.sqlite?mode=ro", uri=True, timeout=10)

    def drain(self, seconds: float) -> None:
        """Let all artists finish."""
        drain(self.homes(), self.artists, seconds)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in (self.server, *self.artists):
            process.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--server-kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=10.0, help="Seconds in which states are right after a burst.")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    recoveries, began = [], time.monotonic()
    machinery = Machinery(folder / "home")
    try:
        world = World(folder, options.seed, machinery)
        while world.node_kills < options.kills:
            kills = min(world.draw.choice([1, 1, 2, 3]), options.kills - world.node_kills)
            due = options.server_kills * (world.node_kills + kills) // options.kills
            world.burst(kills, server=world.server_kills < due)
            recoveries.append(world.recovery())
        world.drain(600)
        with contextlib.closing(world.truth()) as database:
            database.row_factory = sqlite3.Row
            findings = Findings(machinery.executions, world.homes(), world.owners, database)
        world.close()
    finally:  # whatever is left is among these
        machinery.close()
    return report(world, findings, recoveries, time.monotonic() - began, options)


def report(world: World, findings: Findings, recoveries: list[float], seconds: float, options) -> int:
    print(f"{world.node_kills} nodes and {world.server_kills} servers killed, seed {options.seed}, {seconds:.0f} s")
    print(
        f"acknowledged jobs: {findings.acknowledged}; done {findings.done}, cancelled {findings.cancelled}, "
        f"failed {findings.failed}"
    )
    print(
        f"lost {findings.counts['lost']}, duplicates {findings.counts['duplicates'] + findings.many}, "
        f"corrupt or partial {findings.counts['corrupt']}, wrong states in the end {findings.counts['wrong state']}"
    )
    late = sum(seconds > options.within for seconds in recoveries)
    print(
        f"states right again after a burst, {len(recoveries)} times: median {statistics.median(recoveries):.2f} s, "
        f"longest {max(recoveries):.2f} s, later than {options.within:.0f} s {late}"
    )
    for line in findings.wrong[:20]:
        print(line)
    bad = bool(findings.wrong or findings.many or findings.failed or late)
    if bad:
        print(f"logs are in {world.folder}")
    else:
        shutil.rmtree(world.folder)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
