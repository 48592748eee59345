"""The extension, which is the add-on with `shared` inside it: its files, as zips or as a folder."""

import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packager import manifest, project
from packager.archive import packed
from packager.errors import BuildError
from packager.manifest import MANIFEST
from packager.project import NAME
from packager.targets import GENERATIONS, PYZMQ_SHA256, Target
from packager.wheels import SETUPTOOLS, SETUPTOOLS_SHA256, backend_files, wheel

LEFT_OUT = {"__pycache__", "tests", "demo.py"}


def build(
    out: Path, targets: Sequence[Target], wheels: Path | None, offline: bool, backend: bool, website: str = ""
) -> list[Path]:
    """Write the zips into `out`, each whole or not at all; returns their paths.

    wheels: the folder for wheels from PyPI, or None to keep none. offline: take them from there only.
    backend: put the backend's wheel in, for a local backend by one click. website: for the manifest, or "".
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".build-") as name:
        scratch = Path(name)
        kept = wheels or scratch
        common = backend_files(wheel(SETUPTOOLS, SETUPTOOLS_SHA256, kept, offline), scratch) if backend else {}
        page = {"website": website} if website else {}
        for target in targets:
            digest = PYZMQ_SHA256[target.generation, target.platform]
            own = {f"wheels/{target.wheel}": wheel(target.wheel, digest, kept, offline)}
            (scratch / target.zip).write_bytes(packed(extension(target.facts | page, own | common)))
        return [(scratch / target.zip).replace(out / target.zip) for target in targets]


def stage(folder: Path) -> Path:
    """Put the add-on into folder/dreamtime, for any Blender and without wheels; an earlier one there is replaced."""
    target = folder / NAME
    if target.exists() and not (target / MANIFEST).exists():
        raise BuildError(f"{target} is something else; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".stage-") as scratch:
        fresh = Path(scratch, NAME)
        for name, data in extension({"blender_version_min": GENERATIONS["4.5"][1]}, {}).items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        if target.exists():
            target.rename(Path(scratch, "earlier"))
        return fresh.rename(target)


def extension(facts: dict[str, Any], extra: dict[str, bytes]) -> dict[str, bytes]:
    """All files of the extension by name. facts: what its manifest says for a target. extra: files to add."""
    files = sources("blender_addon") | {f"shared/{name}": data for name, data in sources("shared").items()} | extra
    text = manifest.written(facts)
    files |= {MANIFEST: text.encode(), "LICENSE": (project.ROOT / "LICENSE").read_bytes()}
    if wrong := manifest.faults(tomllib.loads(text), files):
        raise BuildError(f"blender_addon/{MANIFEST} is wrong: {', '.join(wrong)}; correct it there")
    return files


def sources(room: str) -> dict[str, bytes]:
    """What the extension takes from a folder of the repository, by name in that folder."""
    folder = project.ROOT / room
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    left_out = {name for name in paths if any(part in LEFT_OUT or part.startswith(".") for part in name.parts)}
    found = {name.as_posix(): path.read_bytes() for name, path in paths.items() if name not in left_out}
    if "__init__.py" not in found:
        raise BuildError(f"{room}/__init__.py is missing; run this in a whole checkout")
    return found
