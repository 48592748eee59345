"""The walls of the house: who may import whom."""

import ast
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("shared", "backend", "blender_addon")

LOOSE = {"__init__", "__main__", "checkpoints", "cli", "errors", "files", "home", "machine", "openmp", "program"}
"""Modules at backend's top: what every room may use, and the way in."""

_OBJECTS = {"engine", "guidance", "mesh", "prior"}
USES = {
    "engine": {"guidance"},
    "guidance": {"engine"},
    "mesh": {"engine"},
    "prior": {"engine", "guidance", "mesh"},
    "pipeline": _OBJECTS,
    "service": {*_OBJECTS, "pipeline"},
    "evaluation": {*_OBJECTS, "pipeline"},
    "benches": {*_OBJECTS, "pipeline", "service", "evaluation"},
    "commands": {*_OBJECTS, "pipeline", "service", "evaluation", "benches"},
}
"""The rooms of the backend, and which others each may import from."""


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The absolute names of all modules that a file imports, wherever in the file."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *(node.module or "").split("."))).strip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def offenders(room: str, forbidden: tuple[str, ...], under: str = "") -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        if str(path.relative_to(ROOT)).startswith(under)
        for name in imports(path)
        if name.startswith(tuple(f"{word}." for word in forbidden)) or name in forbidden
    ]


def test_shared_imports_only_the_standard_library_and_itself() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in modules("shared")
        for name in imports(path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "shared"}
        and not (path.name == "connection.py" and name.split(".")[0] == "zmq")
    ]
    assert wrong == []


def test_the_addon_is_built_with_the_standard_library_alone() -> None:
    """Whoever builds the zips has a bare Python, and installs nothing for it."""
    assert {name.split(".")[0] for name in imports(ROOT / "build_addon.py")} <= sys.stdlib_module_names


def test_bpy_lives_in_the_addon_only() -> None:
    assert offenders("backend", ("bpy", "bmesh", "mathutils", "blender_addon")) == []
    assert offenders("shared", ("bpy", "bmesh", "mathutils", "blender_addon")) == []


def test_the_addon_reaches_the_backend_only_through_shared() -> None:
    assert offenders("blender_addon", ("backend", "torch")) == []


def test_the_engine_knows_nothing_of_the_rooms_that_use_it() -> None:
    assert offenders("backend", ("backend.service", "backend.prior", "backend.cli", "zmq"), "backend/engine") == []
    assert offenders("backend", ("diffusers", "transformers", "peft"), "backend/engine") == []


def test_modules_are_small() -> None:
    """What is longer has more than one subject."""
    paths = [path for room in ROOMS for path in modules(room)]
    lines = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in paths}
    assert {name: count for name, count in lines.items() if count > 300} == {}
    assert statistics.median(lines.values()) < 150


def test_the_backend_holds_these_rooms_and_little_besides() -> None:
    assert {path.parent.name for path in (ROOT / "backend").glob("*/__init__.py")} == set(USES)
    assert {path.stem for path in (ROOT / "backend").glob("*.py")} == LOOSE


@pytest.mark.parametrize("room", sorted(USES))
def test_a_room_uses_only_those_that_it_may(room: str) -> None:
    barred = tuple(f"backend.{other}" for other in set(USES) - USES[room] - {room})
    ways_in = ("backend.cli", "backend.__main__")
    assert offenders("backend", (*barred, *ways_in), f"backend/{room}/") == []


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_what_every_room_uses_uses_none(name: str) -> None:
    rooms = tuple(f"backend.{room}" for room in USES)
    assert offenders("backend", rooms, f"backend/{name}.py") == []


@pytest.mark.parametrize(
    "name",
    [
        "backend.guidance.library",
        "backend.prior.lexicon",
        "backend.pipeline.request",
        "backend.prior.words",
        "backend.service.offer",
        "backend.service.server",
        "backend.commands.serve",
        "backend.commands.jobs",
    ],
)
def test_the_server_process_stays_free_of_torch(name: str) -> None:
    heavy = ("torch", "numpy", "jaxtyping", "diffusers", "transformers", "peft", "ray")
    looked = f"import sys, {name}\nprint(sorted(set(sys.modules) & set({heavy})))"
    done = subprocess.run([sys.executable, "-c", looked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn", ["torch.nn"]),
        ("def f():\n    from backend.engine import cameras", ["backend.engine.cameras"]),
        ("from . import sdf", ["backend.prior.sdf"]),
        ("from ..engine.cameras import View", ["backend.engine.cameras.View"]),
    ],
)
def test_imports_are_found_wherever_they_stand(
    source: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "backend" / "prior" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert list(imports(path)) == expected


def test_shared_works_inside_another_package(tmp_path: Path) -> None:
    """Inside Blender it is a part of the extension, and nothing is called "shared"."""
    shutil.copytree(ROOT / "shared", tmp_path / "extension" / "shared")
    (tmp_path / "extension" / "__init__.py").touch()
    names = [f"extension.shared.{path.stem}" for path in modules("shared")]
    code = f"import sys; [__import__(name) for name in {names}]; assert 'shared' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
