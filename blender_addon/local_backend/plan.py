"""What an installation will do, found out and told before anything is fetched or written."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .environment import Environment
from .machine import Card, Machine
from .troubles import CannotInstall

PYTHONS = ((3, 11), (3, 13))
"""The oldest and the newest Python that the backend runs on."""

PYTORCH = "https://download.pytorch.org/whl"
CUDA = "cu130"
"""PyPI has torch for CUDA on Linux, for the CPU on Windows and for Metal on macOS; PyTorch's own index has the rest.
The torch of requirements.lock is built with CUDA 13.0, on PyPI and there."""

CUDA_DRIVER, CUDA_CAPABILITY = 580, (7, 5)
"""CUDA 13.0 needs this driver or a newer one, and a card of the Turing generation or a newer one."""

METAL_MACOS = 14
"""PyPI's torch for Macs needs this macOS."""


@dataclass(frozen=True)
class Cost:
    """In MB of 10^6 bytes; seconds: of installing, without the download, on two cores."""

    download_mb: int
    disk_mb: int
    seconds: int

    @property
    def room_mb(self) -> int:
        """On the disk, with the download, which is kept for updates."""
        return self.disk_mb + self.download_mb


# Measured on Linux with `time pip install --no-cache-dir -c requirements.lock`, two cores and a fast line: the sum of
# the sizes that pip prints, `du -sm` of the environment, and the whole time. CPU on Python 3.11: 333 MB, 1544 MB, 53 s;
# CUDA on Python 3.13: 2870 MB, 5357 MB, 105 s. Those for Windows and macOS are estimates that nobody has measured.
COSTS = {
    ("linux", "cpu"): Cost(340, 1600, 60),
    ("linux", "cuda"): Cost(2900, 5400, 120),
    ("windows", "cpu"): Cost(290, 1500, 120),
    ("windows", "cuda"): Cost(2100, 5500, 240),
    ("macos", "mps"): Cost(250, 1300, 60),
}

_MB = 10**6
_LINE_MB_PER_SECOND = 6.0  # 50 Mbit/s
_SPARE_MB = 500
_WINDOWS_PATH = 259
_DEEPEST = 171  # characters below site-packages: the licences in torch's wheel
_SITE_PACKAGES = len("\\env.partial\\Lib\\site-packages\\")


@dataclass(frozen=True)
class Plan:
    """build: of torch, "cpu", "cuda" or "mps". python: makes the environment. wheel: the backend.

    constraints: the tested versions. requirements: what pip is asked for. index: where pip looks besides PyPI, or "".
    note: what the artist should know of the choice, or "".
    """

    environment: Environment
    python: Path
    python_version: tuple[int, int]
    build: str
    wheel: Path
    constraints: Path
    requirements: tuple[str, ...]
    index: str
    cost: Cost
    free_mb: int
    note: str

    @property
    def minutes(self) -> int:
        """At 50 Mbit/s."""
        return max(1, round((self.cost.download_mb / _LINE_MB_PER_SECOND + self.cost.seconds) / 60))

    @property
    def arguments(self) -> tuple[str, ...]:
        """For pip install. Nothing is compiled: artists have no compilers."""
        index = ("--extra-index-url", self.index) if self.index else ()
        return ("--only-binary=:all:", "--constraint", str(self.constraints), *index, *self.requirements)

    @property
    def sentences(self) -> tuple[str, ...]:
        """For the dialogue that asks whether to go on."""
        what = {"cpu": "the processor", "cuda": "the NVIDIA card", "mps": "this Mac"}[self.build]
        source = "PyPI and PyTorch's own site" if self.index else "PyPI"
        told = (
            f"The backend for {what} is installed into a folder of its own; Blender's Python stays as it is.",
            f"About {readable(self.cost.download_mb)} come from {source}, in about {self.minutes} min at 50 Mbit/s.",
            f"It takes {readable(self.cost.room_mb)} of the {readable(self.free_mb)} that are free.",
            f"The folder is {self.environment.folder}",
        )
        return (*told, self.note) if self.note else told


def plan(folder: Path, wheels: Path, machine: Machine) -> Plan:
    """How the backend would be installed into `folder`, which need not exist. Fetches and writes nothing.

    wheels: the extension's folder backend_wheel. Raises CannotInstall.
    """
    _refuse_python(machine)
    build, note = _build(machine)
    wheel, constraints = _brought(wheels)
    version = _pinned("torch", constraints)
    tag = {("linux", "cpu"): "cpu", ("windows", "cuda"): CUDA}.get((machine.system, build), "")
    # The local version says which build it is: without the index pip must fail, and not fetch gigabytes unasked.
    torch = f"torch=={version}+{tag}" if tag else f"torch=={version}"
    cost = COSTS[machine.system, build]
    free = _free_mb(folder)
    if free < cost.room_mb + _SPARE_MB:
        raise CannotInstall(
            f"the backend needs {readable(cost.room_mb + _SPARE_MB)} on the disk and {readable(free)} are free",
            f"make room on the disk of {folder}, or run the backend on another computer and pair with it",
        )
    if not machine.long_paths and len(str(folder)) + _SITE_PACKAGES + _DEEPEST > _WINDOWS_PATH:
        raise CannotInstall(
            f"the folder {folder} is too deep for Windows' limit of {_WINDOWS_PATH} characters",
            "turn on long paths in Windows (LongPathsEnabled), restart Blender and install again",
        )
    return Plan(
        Environment(folder),
        machine.python,
        machine.python_version,
        build,
        wheel,
        constraints,
        (torch, str(wheel)),
        f"{PYTORCH}/{tag}" if tag else "",
        cost,
        free,
        note,
    )


def _refuse_python(machine: Machine) -> None:
    oldest, newest = PYTHONS
    if not oldest <= machine.python_version <= newest:
        raise CannotInstall(
            f"this Blender brings Python {_dotted(machine.python_version)}, "
            f"and the backend needs {_dotted(oldest)} to {_dotted(newest)}",
            "use the Blender from blender.org, or run the backend on another computer and pair with it",
        )


def _build(machine: Machine) -> tuple[str, str]:
    """Which torch, and what the artist should know of it."""
    if machine.system == "macos":
        if machine.processor != "arm64" or machine.release < METAL_MACOS:
            raise CannotInstall(f"PyTorch needs a Mac with an Apple processor and macOS {METAL_MACOS} or newer")
        return "mps", ""
    if machine.system not in ("linux", "windows") or machine.processor != "x86_64":
        raise CannotInstall(f"PyTorch is not made for {machine.system} on {machine.processor} in the tested version")
    if machine.card is None:
        return (
            "cpu",
            "No NVIDIA card was found, so the processor computes: minutes with the built-in model, hours with others.",
        )
    lack = _lack(machine.card)
    return ("cpu", lack) if lack else ("cuda", "")


def _lack(card: Card) -> str:
    """Why the card cannot be used, with the remedy, or ""."""
    if card.capability < CUDA_CAPABILITY:
        return f"The {card.name} is too old for CUDA 13, so the processor computes."
    if card.driver < CUDA_DRIVER:
        return (
            f"The driver of the {card.name} is {card.driver}; with {CUDA_DRIVER} or newer the card could be used. "
            "Update the driver first, or install for the processor now."
        )
    return ""


def _brought(wheels: Path) -> tuple[Path, Path]:
    """The backend's wheel and the tested versions, as they travel in the extension."""
    found, constraints = sorted(wheels.glob("dreamtime-*.whl")), wheels / "requirements.lock"
    if len(found) != 1 or not constraints.is_file():
        raise CannotInstall(
            "this copy of the add-on does not bring the backend with it",
            "install the zip of a release, or run the backend from its own folder and pair with it",
        )
    return found[0], constraints


def _pinned(name: str, constraints: Path) -> str:
    """The tested version of a package."""
    found = re.search(rf"^{name}==(\S+)$", constraints.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise CannotInstall(f"this copy of the add-on does not say which {name} it needs", "install it anew")
    return found[1]


def _free_mb(folder: Path) -> int:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free // _MB


def readable(megabytes: int) -> str:
    """For the artist: 340 MB, or 1.6 GB."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
