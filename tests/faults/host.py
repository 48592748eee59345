"""A backend with fake workers, for faults to be injected into. python tests/faults/host.py FOLDER PORT

Prints "ready PORT". Some faults cannot be had from outside without being root, so files in FOLDER make them: `full`
makes the disk full for the database and for results; `clock` holds seconds by which the calendar is off.
"""

import errno
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from backend.service import inputs, server
from backend.service.keys import KeyRing
from backend.service.local import LocalExecutor
from backend.service.results import Results
from backend.service.server import Address
from backend.service.store import Store

FAKE = Path(__file__).parent.parent / "service" / "fake_worker.py"
DEVICES = ("cpu", "cpu:1")


def main(folder: Path, port: int) -> None:
    full, offset = folder / "full", folder / "clock"
    stopped = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    change, take, to_disk = Store.change, Results._take, inputs.to_disk

    @contextmanager
    def change_unless_full(store):
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages if full.exists() else 2**31 - 2}")
        with change(store):
            yield

    def take_unless_full(results, result):
        if full.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        take(results, result)

    def to_disk_unless_full(path):
        if full.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        to_disk(path)

    Store.change, Results._take, inputs.to_disk = change_unless_full, take_unless_full, to_disk_unless_full
    server.serve(
        folder / "service",
        KeyRing(folder / "keys"),
        Address("127.0.0.1", port),
        lambda: LocalExecutor(DEVICES, folder / "logs", (sys.executable, str(FAKE))),
        "cpu",
        lambda address: print("ready", address.port, flush=True),
        lambda: bool(stopped),
        lambda: time.time() + (float(offset.read_text()) if offset.exists() else 0.0),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
