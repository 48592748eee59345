"""The wheels that travel in the extension: pyzmq's, and the backend's own."""

import os
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path

from packager import project
from packager.archive import packed
from packager.errors import BuildError
from packager.programs import PIP, run
from packager.project import NAME

SETUPTOOLS = "setuptools-84.2.1-py3-none-any.whl"  # builds the backend's wheel, the same everywhere
SETUPTOOLS_SHA256 = "ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2"


def wheel(name: str, digest: str, folder: Path, offline: bool) -> bytes:
    """A wheel from PyPI, downloaded into `folder` unless it is there. digest: its SHA-256."""
    path = folder / name
    if not path.exists():
        if offline:
            raise BuildError(f"{name} is not in {folder}; put it there, or run this once without --offline")
        package, release, python, abi, system = name.removesuffix(".whl").split("-")
        tags = ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        tags += ["--platform", system.split(".")[-1], "--only-binary=:all:", "--ignore-requires-python"]
        wanted = ["--no-deps", "--dest", folder, f"{package}=={release}"]
        run([*PIP, "download", *tags, *wanted], f"{name} was not downloaded; see whether pip reaches PyPI")
    data = path.read_bytes()
    if sha256(data).hexdigest() != digest:
        raise BuildError(f"{path} is not the file that was published (SHA-256); delete it and run this again")
    return data


def backend_files(setuptools: bytes, scratch: Path) -> dict[str, bytes]:
    """The backend's wheel and the versions it is tested with, by their names in the extension."""
    source, tools = scratch / "source", scratch / "tools"
    tools.mkdir()
    (tools / SETUPTOOLS).write_bytes(setuptools)
    for room in ("backend", "shared"):
        shutil.copytree(project.ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(project.ROOT / name, source / name)
    # Without pip's settings, or it might take another setuptools.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    options = ["--no-deps", "--no-index", "--ignore-requires-python", "--find-links", tools, "--wheel-dir", scratch]
    bare["PIP_CONFIG_FILE"] = os.devnull
    run([*PIP, "wheel", *options, source], "no wheel of the backend; run pip wheel --no-deps . to see why", bare)
    built = scratch / f"{NAME}-{project.version()}-py3-none-any.whl"
    with zipfile.ZipFile(built) as archive:
        data = packed({name: archive.read(name) for name in archive.namelist() if not name.endswith("/")})
    lock = (project.ROOT / "requirements.lock").read_bytes()
    return {f"backend_wheel/{built.name}": data, "backend_wheel/requirements.lock": lock}
