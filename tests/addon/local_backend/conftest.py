"""The add-on's local backend with stand-ins: a backend that computes nothing, and a torch that is empty."""

import importlib
import sys
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGE = "staged_local_backend"
VERSION = "1.2.3"
MODULES = (
    *("child", "complaints", "environment", "files", "identity", "install", "machine", "models", "pip_output", "plan"),
    *("process", "removal", "troubles"),
)

BACKEND = """
import json, os, signal, sys, time
from pathlib import Path

home = Path(os.environ["DREAMTIME_HOME"])
known = home / "behaviour"
behaviour = known.read_text() if known.exists() else ""
command, arguments = sys.argv[1], sys.argv[2:]
print(command, *arguments, "in", Path(sys.argv[0]).parent, flush=True)


def refuse(complaint):
    sys.exit(f"error: {complaint}")


if behaviour == "hang":
    time.sleep(600)
if command == "doctor":
    sys.exit(behaviour == "sick")
if command == "models":
    if arguments[-1] == "owner/unknown":
        refuse("the hub has no model owner/unknown; check the spelling")
    if arguments[0] == "look":
        print(json.dumps({"name": arguments[-1], "size": 5_200_000_000, "licence": "mit", "revision": "0123"}))
    sys.exit()
lock = home / "in-use"
if lock.exists() and Path("/proc", lock.read_text()).exists():
    refuse(f"another backend uses {home}; stop it, or name another folder with --home")
lock.write_text(str(os.getpid()))
if behaviour == "once":
    known.write_text("")
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
if behaviour in ("once", "always"):
    print("Traceback: something broke", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if behaviour == "refused":
    refuse("the database is damaged; restore it")
keys = home / "keys"
keys.mkdir(mode=0o700, exist_ok=True)
(keys / "partial").write_text(LINE)
(keys / "partial").replace(keys / "local.pairing")
while True:
    time.sleep(0.02)
"""


@pytest.fixture(scope="session")
def module(staged: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the add-on by its name within it; the package itself, which needs bpy, is not run."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(staged)]
    sys.modules[PACKAGE] = package
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def m(module: Callable[[str], ModuleType]) -> types.SimpleNamespace:
    """All modules of the local backend, by their names."""
    return types.SimpleNamespace(
        **{name: module(f"local_backend.{name}") for name in MODULES}, pairing=module("shared.pairing")
    )


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A package for pip, from nothing but text."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return path


@pytest.fixture(scope="session")
def pairing(m: Any) -> Any:
    """What the stand-in writes."""
    return m.pairing.Pairing("127.0.0.1", 7000, bytes(32), bytes(range(32)))


@pytest.fixture(scope="session")
def brought(pairing: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What travels in the extension: the stand-in's wheel and the tested versions. An empty torch lies beside them."""
    folder = tmp_path_factory.mktemp("backend_wheel")
    wheel(folder, "dreamtime", VERSION, {"backend/__main__.py": f'LINE = "{pairing}"\n{BACKEND}'})
    (folder / "requirements.lock").write_text("numpy==2.4.6\ntorch==2.13.0\n")
    (folder / "index").mkdir()
    wheel(folder / "index", "torch", "2.13.0+cpu", {"torch/__init__.py": ""})
    return folder


@pytest.fixture(autouse=True)
def offline(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds the stand-ins and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", (brought / "index").as_uri())


@pytest.fixture
def machine(m: Any) -> Any:
    """A Linux computer without a card, with this Python."""
    return m.machine.Machine("linux", "x86_64", 0, Path(sys.executable), sys.version_info[:2], None, True)


@pytest.fixture(scope="session")
def installed(m: Any, brought: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The environment of the stand-in, installed once by the add-on's own installation."""
    folder = tmp_path_factory.mktemp("installed")
    machine = m.machine.Machine("linux", "x86_64", 0, Path(sys.executable), sys.version_info[:2], None, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", (brought / "index").as_uri())
        installation = m.install.Installation(m.plan.plan(folder, brought, machine), VERSION)
        installation.start(online=True)
        assert installation.join(600)
    assert installation.error is None, installation.error
    return installation.plan.environment


@pytest.fixture
def environment(m: Any, installed: Any, tmp_path: Path) -> Any:
    """A folder of its own with that environment, and nothing running in it."""
    environment = m.environment.Environment(tmp_path / "local")
    environment.home.mkdir(parents=True)
    environment.path.symlink_to(installed.path)
    return environment


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition."""

    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return until
