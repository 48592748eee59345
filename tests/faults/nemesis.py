"""Break everything that can break, at random instants, and count what was lost.

    python tests/faults/nemesis.py --faults 1000 --seed 0

Artists (artist.py) reach a backend with fake workers (host.py) through a proxy (proxy.py). Faults come in bursts:
server, workers and artists are killed, the server is frozen, connections are cut, stalled, delayed, sliced, garbled and
refused, the disk is full, the folder of the results is away, the clock jumps. After each burst everything heals, and
the time is taken until every artist knows the true state of the jobs again. In the end all jobs must be finished, and
every result there, once and whole. Exit code 1 if not.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
from findings import Findings, view
from proxy import Proxy

from backend.service.dispatch import CRASHES_FORGIVEN
from backend.service.keys import KeyRing
from shared.pairing import Pairing

HERE = Path(__file__).parent
ARTISTS = 3
BURST = 20


class Process:
    """A program that is started again when it was killed."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._log = log.open("ab")
        self._child: subprocess.Popen[bytes] | None = None
        self.ready = threading.Event()
        self.start()

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    def start(self) -> None:
        self.ready.clear()
        self._child = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, **self._environment}
        )
        threading.Thread(target=self._hear, args=(self._child, self.ready), daemon=True).start()

    def kill(self) -> None:
        if self._child:
            self._child.kill()
            self._child.wait()

    def signal(self, number: int) -> None:
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    def revive(self) -> None:
        if self._child is None or self._child.poll() is not None:
            self.start()

    def ended(self) -> int | None:
        return self._child.poll() if self._child else None

    def close(self) -> None:
        self.kill()
        self._log.close()

    def _hear(self, child: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert child.stdout
        with child.stdout:
            for line in child.stdout:
                if line.startswith(b"ready"):
                    ready.set()


class World:
    """A backend, its artists, and what can happen to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.worker_kills = 0
        keys = KeyRing(folder / "keys")
        port = free_port()
        self.proxy = Proxy(port, seed)
        environment = {"FAKE_EXECUTIONS": str(folder / "executions"), "PYTHONPATH": str(HERE.parent.parent)}
        command = [sys.executable, str(HERE / "host.py"), str(folder), str(port)]
        self.server = Process(command, folder / "server.log", environment)
        self.server.ready.wait(120)
        local = keys.read_local()
        assert local
        self.artists = []
        for index in range(ARTISTS):
            home = folder / f"artist{index}"
            home.mkdir()
            pairing = Pairing("127.0.0.1", self.proxy.port, local.server_key, keys.pair(f"artist {index}"))
            (home / "pairing").write_text(str(pairing))
            command = [sys.executable, str(HERE / "artist.py"), str(home), str(seed + index)]
            self.artists.append(Process(command, home / "log", environment))
        self.owners = {client.name: client.public for client in keys.clients()}
        self._later: list[threading.Timer] = []
        self._moving = threading.Lock()

    def homes(self) -> list[Path]:
        return [self.folder / f"artist{index}" for index in range(ARTISTS)]

    # --- faults ---

    def faults(self) -> dict[str, Callable[[], None]]:
        return {
            "server killed": self.kill_server,
            "worker killed": self.kill_worker,
            "artist killed": self.kill_artist,
            "server frozen": self.freeze_server,
            "connections cut": self.proxy.cut,
            "connections stalled": self.stall,
            "connections delayed": self.delay,
            "connections sliced": self.slice,
            "connections garbled": self.proxy.garble,
            "connections refused": self.refuse,
            "disk full": self.fill_disk,
            "results folder away": self.move_results,
            "clock jumped": self.jump,
        }

    def inject(self) -> None:
        name = self.draw.choice(list(self.faults()))
        self.faults()[name]()
        self.counts[name] += 1

    def later(self, action: Callable[[], object], most: float) -> None:
        timer = threading.Timer(self.draw.uniform(0.02, most), action)
        timer.daemon = True
        timer.start()
        self._later.append(timer)

    def kill_server(self) -> None:
        self.server.kill()
        self.later(self.server.revive, 0.3)

    def kill_worker(self) -> None:
        workers = children(self.server.pid)
        if workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.draw.choice(workers).kill()
                self.worker_kills += 1

    def kill_artist(self) -> None:
        artist = self.draw.choice(self.artists)
        artist.kill()
        self.later(artist.revive, 0.2)

    def freeze_server(self) -> None:
        self.server.signal(signal.SIGSTOP)
        self.later(lambda: self.server.signal(signal.SIGCONT), 0.5)

    def stall(self) -> None:
        self.proxy.stall()
        self.later(self.proxy.flow, 0.6)

    def delay(self) -> None:
        self.proxy.delay = self.draw.uniform(0.001, 0.02)
        self.later(lambda: setattr(self.proxy, "delay", 0.0), 0.5)

    def slice(self) -> None:
        self.proxy.sliced = True
        self.later(lambda: setattr(self.proxy, "sliced", False), 0.5)

    def refuse(self) -> None:
        self.proxy.refusing = True
        self.proxy.cut()
        self.later(lambda: setattr(self.proxy, "refusing", False), 0.4)

    def fill_disk(self) -> None:
        (self.folder / "full").touch()
        self.later(lambda: (self.folder / "full").unlink(missing_ok=True), 0.5)

    def move_results(self) -> None:
        with contextlib.suppress(OSError):
            self.assets.rename(self.away)
        self.later(self.bring_results_back, 0.4)

    def bring_results_back(self) -> None:
        with self._moving:  # timers may meet here
            self._bring_results_back()

    def _bring_results_back(self) -> None:
        if not self.away.exists():
            return
        try:
            self.away.rename(self.assets)
        except OSError:  # a server was started meanwhile, and made a new one
            for path in self.away.iterdir():
                path.replace(self.assets / path.name)
            self.away.rmdir()

    @property
    def assets(self) -> Path:
        return self.folder / "service" / "assets"

    @property
    def away(self) -> Path:
        return self.folder / "service" / "assets.away"

    def jump(self) -> None:
        hours = self.draw.choice([-1, 1]) * self.draw.choice([1, 24, 24 * 365 * 10])
        partial = self.folder / "clock.partial"
        partial.write_text(str(3600.0 * hours))
        partial.replace(self.folder / "clock")

    def heal(self) -> float:
        """End all faults; the moment from which on nothing was wrong any more."""
        for timer in self._later:
            timer.cancel()
        self._later.clear()
        (self.folder / "full").unlink(missing_ok=True)
        self.server.signal(signal.SIGCONT)
        self.bring_results_back()
        self.server.revive()
        for artist in self.artists:
            artist.revive()
        if not self.server.ready.wait(120):
            raise SystemExit(f"the server does not start: {(self.folder / 'server.log').read_text()[-3000:]}")
        self.proxy.heal()
        return time.monotonic()

    # --- the truth ---

    def truth(self) -> "sqlite3.Connection":
        """The server's own rows, read from outside."""
        connection = sqlite3.connect(f"file:{self.folder}/service/jobs.sqlite?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        return connection

    def last_events(self) -> dict[str, int]:
        with contextlib.closing(self.truth()) as database:
            rows = database.execute("SELECT owner, max(seq) AS last FROM events GROUP BY owner")
            return {row["owner"]: row["last"] for row in rows}

    def recovery(self, healed: float, within: float) -> float:
        """Seconds until every artist has heard all that had happened when everything was healed."""
        last = self.last_events()
        while time.monotonic() - healed < max(within, 60.0):
            views = [view(home) for home in self.homes()]
            known = [
                seen["at"] > healed and seen["cursor"] >= last.get(self.owners[f"artist {index}"], 0)
                for index, seen in enumerate(views)
            ]
            if all(known):
                return max(seen["at"] for seen in views) - healed
            for process in (self.server, *self.artists):
                process.revive()
            time.sleep(0.01)
        return float("inf")

    def drain(self, seconds: float) -> None:
        """Let all artists finish."""
        drain(self.homes(), self.artists, seconds)

    def close(self) -> None:
        for process in (self.server, *self.artists):
            process.close()


def drain(homes: list[Path], artists: list[Process], seconds: float) -> None:
    """Let the artists in `homes` finish; one that died before is started again."""
    for home in homes:
        (home / "drain").touch()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(artist.ended() != 0 for artist in artists):
        for artist in artists:
            if artist.ended() not in (None, 0):
                artist.revive()
        time.sleep(0.05)


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=5.0, help="Seconds in which states are known after a burst.")
    parser.add_argument("--keep", action="store_true", help="Leave the folder there, with all logs.")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    world = World(folder, options.seed)
    recoveries, began = [], time.monotonic()
    try:
        while world.counts.total() < options.faults:
            for _ in range(min(BURST, options.faults - world.counts.total())):
                time.sleep(world.draw.expovariate(1 / 0.05))
                world.inject()
            recoveries.append(world.recovery(world.heal(), options.within))
        world.drain(600)
        with contextlib.closing(world.truth()) as database:
            findings = Findings(world.folder / "executions", world.homes(), world.owners, database)
    finally:
        world.close()
    return report(world, findings, recoveries, time.monotonic() - began, options)


def report(world: World, findings: Findings, recoveries: list[float], seconds: float, options) -> int:
    print(f"{world.counts.total()} faults, seed {options.seed}, {seconds:.0f} s: ", end="")
    print(", ".join(f"{name} {count}" for name, count in sorted(world.counts.items())))
    print(
        f"acknowledged jobs: {findings.acknowledged}; done {findings.done}, cancelled {findings.cancelled}, "
        f"failed after {CRASHES_FORGIVEN + 1} killed workers {findings.failed}"
    )
    print(
        f"lost {findings.counts['lost']}, duplicates {findings.counts['duplicates'] + findings.many}, "
        f"corrupt or partial {findings.counts['corrupt']}, wrong states in the end {findings.counts['wrong state']}"
    )
    print(f"executions {findings.executions}, of these again after a crash {findings.again}")
    late = sum(seconds > options.within for seconds in recoveries)
    print(
        f"states known again after a burst, {len(recoveries)} times: median {statistics.median(recoveries):.2f} s, "
        f"longest {max(recoveries):.2f} s, later than {options.within:.0f} s {late}"
    )
    for line in findings.wrong[:20]:
        print(line)
    bad = bool(findings.wrong or findings.many or late)
    if options.keep or bad:
        print(f"logs are in {world.folder}")
    else:
        shutil.rmtree(world.folder)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
