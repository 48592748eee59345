"""A Blender of this machine: which zip fits it, and installing that."""

import platform
import re
from pathlib import Path

from packager.errors import BuildError
from packager.programs import run
from packager.project import NAME
from packager.targets import Target


def fitting(blender: str) -> Target:
    """The zip for a Blender on this machine. blender: its program."""
    found = re.search(r"Blender (\d+)\.(\d+)", run([blender, "--version"], f"{blender} does not start; see why"))
    release = (int(found[1]), int(found[2])) if found else (0, 0)
    if release < (4, 5):
        raise BuildError(f"{blender} is no Blender of 4.5 or later; get one from blender.org")
    here = f"{platform.system()} {platform.machine()}".lower().replace("darwin arm64", "darwin x86_64")
    names = {"linux x86_64": "linux-x64", "windows amd64": "windows-x64", "darwin x86_64": "macos-universal"}
    if here not in names:
        raise BuildError(f"there is no zip for {here}; use Linux or Windows on x64, or macOS")
    return Target("5.1" if release >= (5, 1) else "4.5", names[here])


def install(blender: str, path: Path) -> None:
    """Install the zip at `path` in a Blender, and enable it there."""
    command = [blender, "--command", "extension", "install-file", "-r", "user_default", "-e", path]
    failure = f"{blender} did not install {path}; drop it into Blender's window to see why"
    run(command, failure, sign=f'nstalled "{NAME}"')  # it ends well even if it refuses
