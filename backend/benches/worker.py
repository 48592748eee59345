"""A worker that computes nothing, to measure the service around it: python -m backend.benches.worker --device cpu.

The result of a task is one file of `steps` KiB.
"""

import hashlib
import time
from pathlib import Path
from typing import Any

from backend.files import write_whole
from backend.service.executor import Result
from backend.service.worker import Listener, Standing, main

_SECONDS = 0.02
"""What a task takes, so that queues exist."""


class Idler:
    """See `worker.Engine`."""

    def warm_up(self, device: str) -> dict[str, Any]:
        return {}

    def carry_out(
        self, request: dict[str, Any], folder: Path, device: str, listen: Listener, given: Path | None = None
    ) -> tuple[tuple[Result, ...], dict[str, Any]]:
        listen(Standing("optimising", 1, 1, 1, 0.0))
        time.sleep(_SECONDS)
        folder.mkdir(parents=True, exist_ok=True)
        content = bytes(1024 * (request["steps"] or 1))
        path = folder / "mesh.glb"
        write_whole(path, content)
        return (Result(path.name, path, hashlib.sha256(content).hexdigest(), len(content)),), {}


if __name__ == "__main__":
    main(Idler)
