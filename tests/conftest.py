"""Fixtures that every room's tests share."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import settings

from backend.home import VARIABLE
from backend.mesh import fidelity, pictures
from backend.service.keys import KeyRing
from shared.pairing import Pairing

ROOT = Path(__file__).parent.parent
DEADLINE = 120.0
"""Seconds after which something that is waited for will not come: long, as machines are slow and busy."""

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


class Host:
    """A backend as a process of its own, in a folder; with fake workers (tests/faults/host.py), or the real one."""

    def __init__(self, folder: Path, real: bool = False) -> None:
        self.folder = folder
        self.keys = KeyRing(folder / "keys")
        self.port = 0
        self._real = real
        self.start()

    def start(self) -> None:
        fake = [str(ROOT / "tests" / "faults" / "host.py"), str(self.folder), str(self.port)]
        command = ["-m", "backend", "serve", "--port", str(self.port)] if self._real else fake
        own = {"PYTHONPATH": str(ROOT), "FAKE_EXECUTIONS": str(self.folder / "executions"), VARIABLE: str(self.folder)}
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, env={**os.environ, **own}, text=True
        )
        assert self.process.stdout
        found = re.match(r"ready (?:at [\d.]+:)?(\d+)", line := self.process.stdout.readline())
        assert found, line
        self.port = int(found[1])

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        """However it ended."""
        self.process.kill()
        assert self.process.stdout
        self.process.stdout.close()
        self.process.wait()

    @property
    def pairing(self) -> Pairing:
        found = self.keys.read_local()
        assert found
        return found

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def go(self) -> None:
        """Let workers on whose prompt says hold=K."""
        (self.folder / "go").touch()

    def executions(self) -> int:
        return len((self.folder / "executions").read_text().splitlines())


@pytest.fixture(autouse=True)
def home_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test leaves in the program's folder is not the user's, nor the next test's."""
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "home" / uuid.uuid4().hex))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    tmp_path.chmod(0o700)
    host = Host(tmp_path)
    yield host
    host.close()


@pytest.fixture
def real_host(tmp_path: Path) -> Iterator[Host]:
    """The backend itself, with the built-in model."""
    folder = tmp_path / "real-host"
    folder.mkdir(mode=0o700)
    host = Host(folder, real=True)
    yield host
    host.close()


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the mesh take longer than everything else."""
    for name in ("write_turntable", "write_preview"):
        write = getattr(pictures, name)
        options = {"frames": 2} if name == "write_turntable" else {}
        monkeypatch.setattr(
            pictures,
            name,
            lambda asset, path, write=write, options=options: write(asset, path, size=16, **options),
        )
    monkeypatch.setattr(fidelity, "_PIXELS", 32)


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness with a fixed seed."""
    return torch.Generator().manual_seed(0)
