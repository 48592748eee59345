"""Fixtures that every room's tests share."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from backend.service.keys import KeyRing
from shared.pairing import Pairing

ROOT = Path(__file__).parent.parent


class Host:
    """A backend with fake workers as a process of its own: tests/faults/host.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = KeyRing(folder / "keys")
        self.port = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "faults" / "host.py"), str(self.folder), str(self.port)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "FAKE_EXECUTIONS": str(self.folder / "executions")},
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith(b"ready"), line
        self.port = int(line.split()[1])

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait(10)

    @property
    def pairing(self) -> Pairing:
        found = self.keys.read_local()
        assert found
        return found

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def executions(self) -> int:
        return len((self.folder / "executions").read_text().splitlines())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    tmp_path.chmod(0o700)
    host = Host(tmp_path)
    yield host
    if host.process.poll() is None:
        host.end(signal.SIGKILL)


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness with a fixed seed."""
    return torch.Generator().manual_seed(0)
