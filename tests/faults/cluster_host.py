"""A backend whose workers are on a cluster. python tests/faults/cluster_host.py FOLDER PORT ADDRESS WORKER

Prints "ready PORT".
"""

import signal
import sys
from pathlib import Path

from backend import program
from backend.service import server
from backend.service.cluster.executor import RayExecutor
from backend.service.keys import KeyRing
from backend.service.server import Address
from backend.service.shelf import Shelf

FAKE = "tests.service.fake_worker"


def main(folder: Path, port: int, cluster: str, worker: str) -> None:
    stopped = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    bridge = (*program.command("backend.service.cluster.bridge"), "--address", cluster, "--worker", worker)
    server.serve(
        folder / "service",
        KeyRing(folder / "keys"),
        Address("127.0.0.1", port),
        lambda: RayExecutor("cpu", folder / "logs", bridge, Shelf().models),
        "cpu",
        lambda address: print("ready", address.port, flush=True),
        lambda: bool(stopped),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
