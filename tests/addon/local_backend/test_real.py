"""The real backend, installed and run as an artist's computer does it."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.client import Client
from shared.connection import Patience
from shared.pairing import Pairing


@pytest.fixture
def offline() -> None:
    """Instead of the one for stand-ins: pip finds what there is."""


@pytest.fixture
def real(build_addon: ModuleType, wheels: Path, tmp_path: Path) -> Path:
    """What travels in the extension: the folder backend_wheel."""
    setuptools = build_addon.wheel(build_addon.SETUPTOOLS, build_addon.SETUPTOOLS_SHA256, wheels, offline=True)
    (tmp_path / "scratch").mkdir()
    for name, data in build_addon.backend_files(setuptools, tmp_path / "scratch").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path / "backend_wheel"


def size_mb(folder: Path) -> int:
    told = subprocess.run(["/usr/bin/du", "-sm", folder], capture_output=True, text=True, check=True).stdout
    return int(told.split()[0])


@pytest.mark.long
def test_the_real_backend_is_installed_started_greeted_stopped_and_removed(
    m: Any, real: Path, tmp_path: Path, until: Callable[..., None], build_addon: ModuleType
) -> None:
    machine = m.machine.Machine("linux", "x86_64", 0, Path(sys.executable), sys.version_info[:2], None, True)
    plan = m.plan.plan(tmp_path / "local", real, machine)
    # The pinned torch from wherever pip is configured to look: PyTorch's own index may be out of reach.
    torch = plan.requirements[0].partition("+")[0]
    plan = replace(plan, index="", requirements=(torch, *plan.requirements[1:]))
    version = build_addon.version()
    backend = m.process.LocalBackend(plan.environment, version)
    began, told = time.monotonic(), []
    installation = m.install.Installation(plan, version)
    backend.install(installation, online=True)
    while not installation.finished:
        assert time.monotonic() - began < 1800
        told.append(installation.progress)
        time.sleep(0.05)
    assert installation.error is None, (installation.error, installation.error.log_tail)
    seconds, size = time.monotonic() - began, size_mb(plan.environment.path)
    assert [progress.fraction for progress in told] == sorted(progress.fraction for progress in told)
    assert {progress.phase for progress in told} >= {"Preparing", "Downloading", "Installing", "Trying it"}
    assert backend.poll().stage == "stopped"

    began = time.monotonic()
    backend.start()
    try:
        until(lambda: backend.poll().stage == "running")
        ready = time.monotonic() - began
        with Client(Pairing.parse(str(backend.poll().pairing)), "tests", Patience(120.0)) as client:
            welcome = client.hello()
        assert welcome.version == version
        assert welcome.offer.models[0].name == "builtin"
    finally:
        began = time.monotonic()
        backend.stop()
        until(lambda: backend.poll().stage == "stopped")
    stopped, log = time.monotonic() - began, (plan.environment.logs / "install.log").read_text()
    taken, began = m.removal.usage(plan.environment), time.monotonic()
    backend.remove()
    while backend.poll().stage == "removing":
        assert time.monotonic() - began < 1800
        time.sleep(0.05)
    print(  # noqa: T201
        f"\ninstalled in {seconds:.0f} s, {size} MB ({taken}); ready {ready:.1f} s after its start, "
        f"stopped in {stopped:.1f} s, removed in {time.monotonic() - began:.1f} s"
    )
    assert list(plan.environment.folder.iterdir()) == []
    assert size < plan.cost.disk_mb * 1.1 or "+cpu" not in log
