"""A Ray cluster on this machine, whose nodes can be killed as a power cut does it, and of which nothing stays."""

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
MARK = "DREAMTIME_TEST_CLUSTER"
"""Every process of a cluster has this variable, with a value of its own."""

STORE_BYTES = 100 * 2**20
"""What Ray takes at least."""


class Machinery:
    """A head that lends nothing, and nodes that lend one slot each."""

    def __init__(self, home: Path) -> None:
        """home: of all nodes; `executions` in it has a line for each job that a fake worker finished."""
        self.mark = secrets.token_hex(8)
        self.executions = home / "executions"
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets must be short
        (self._folder / "ray").mkdir()  # Ray writes the cluster's address into it before it makes it
        self.environment = {
            "FAKE_EXECUTIONS": str(self.executions),
            MARK: self.mark,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self._folder),
            "DREAMTIME_HOME": str(home),
            "PYTHONPATH": str(ROOT),
        }
        os.environ |= self.environment
        self.nodes: dict[str, Any] = {}
        self._count = 0
        self.begin(0)

    def begin(self, port: int) -> None:
        """Start the head. port 0: any free one."""
        from ray.cluster_utils import Cluster  # Ray reads the variables when it is imported

        logging.getLogger("ray").setLevel(logging.ERROR)
        head = {"num_cpus": 0, "include_dashboard": False, "node_name": "head", "gcs_server_port": port}
        head |= {"object_store_memory": STORE_BYTES}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def kill_head(self) -> None:
        """End everything of the head at once."""
        for kind in ("gcs_server", "raylet"):
            for started in self._cluster.head_node.all_processes[kind]:
                _kill(started.process.pid)

    def add(self, slots: int = 1) -> str:
        """Add a node; its name, which none had before."""
        self._count += 1
        name = f"ws{self._count}"
        self.nodes[name] = self._cluster.add_node(
            wait=False,
            num_cpus=0,
            node_name=name,
            resources={"dreamtime": slots},
            object_store_memory=STORE_BYTES,
        )
        return name

    def kill(self, name: str) -> None:
        """End everything on a node at once."""
        node = self.nodes.pop(name)
        (raylet,) = node.all_processes["raylet"]
        _kill(raylet.process.pid)

    def processes(self) -> Iterator[psutil.Process]:
        """All that this cluster has begun, wherever it is by now."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and self._ours(process):
                    yield process

    def _ours(self, process: psutil.Process) -> bool:
        if process.environ().get(MARK) == self.mark:
            return True
        # Ray's agents write a title over their variables, but they have logs.
        return any(file.path.startswith(str(self._folder)) for file in process.open_files())

    def close(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in self.environment:
            os.environ.pop(name, None)


def _kill(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [*_descendants(pid), psutil.Process(pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
