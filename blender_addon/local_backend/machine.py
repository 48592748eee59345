"""What this computer has that decides how the backend is installed."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .child import quiet
from .troubles import CannotInstall

_LOOK_SECONDS = 10.0
_CARD = ("--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
_SYSTEMS = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}
_LONG_PATHS = r"SYSTEM\CurrentControlSet\Control\FileSystem"


@dataclass(frozen=True)
class Card:
    """An NVIDIA card. driver: its main version, such as 580. capability: what CUDA calls it, such as (8, 9)."""

    name: str
    driver: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """system: "linux", "windows" or "macos". processor: "x86_64" or "arm64". release: of macOS, else 0.

    python: the interpreter that makes the environment, of version python_version. card: None if there is none, or if
    its driver does not answer. long_paths: whether paths of 260 characters and more are allowed.
    """

    system: str
    processor: str
    release: int
    python: Path
    python_version: tuple[int, int]
    card: Card | None
    long_paths: bool


def look(python: Path) -> Machine:
    """What this computer has. python: see `interpreter`. Asks the driver, for up to ten seconds: not for Blender's
    main thread."""
    system = _SYSTEMS.get(platform.system(), platform.system().lower())
    processor = platform.machine().lower()
    return Machine(
        system,
        {"amd64": "x86_64", "aarch64": "arm64"}.get(processor, processor),
        int(platform.mac_ver()[0].partition(".")[0] or 0),
        python,
        sys.version_info[:2],
        card(),
        long_paths_allowed(),
    )


def interpreter() -> Path:
    """Blender's own Python as a program. Raises CannotInstall if this Blender has none."""
    for path in _interpreters():
        if path.is_file():
            return path
    raise CannotInstall(
        f"this Blender's Python is no program of its own under {sys.prefix}",
        "use the Blender from blender.org, or run the backend on another computer and pair with it",
    )


def _interpreters() -> Iterator[Path]:
    """Where it may be. sys.executable is Blender itself in some builds."""
    if Path(sys.executable).stem.lower().startswith("python"):
        yield Path(sys.executable)
    exact = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix)):
        for folder in (Path(prefix, "bin"), Path(prefix)):
            yield from (folder / name for name in (exact, "python.exe", "python3"))


def card() -> Card | None:
    """The first NVIDIA card, as its driver's own program tells."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        told = subprocess.run(  # noqa: S603 a program of the driver's
            [command, *_CARD], capture_output=True, text=True, timeout=_LOOK_SECONDS, check=True, **quiet()
        ).stdout
        name, driver, capability = told.splitlines()[0].rsplit(",", 2)
        major, minor = capability.strip().split(".")
        return Card(name.strip(), int(driver.strip().partition(".")[0]), (int(major), int(minor)))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):  # such a driver computes nothing either
        return None


def long_paths_allowed() -> bool:
    """Windows has to be told to allow them."""
    if sys.platform != "win32":
        return True
    import winreg  # on Windows only

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _LONG_PATHS) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def local_folder(extension_folder: Path) -> Path:
    """Where the local backend is kept: the extension's user folder, or on a Windows without long paths a shorter one.

    extension_folder: bpy.utils.extension_path_user(...).
    """
    local = os.environ.get("LOCALAPPDATA")
    if long_paths_allowed() or not local:
        return extension_folder / "backend"
    return Path(local, "dreamtime", f"{sys.version_info.major}.{sys.version_info.minor}")
