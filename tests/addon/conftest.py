"""The add-on as build_addon.py stages and packs it, and real Blenders to run it in."""

import importlib
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MODULE = "bl_ext.user_default.dreamtime"
"""What Blender calls the installed add-on."""

START = f"""
import runpy, sys
from pathlib import Path
import bpy
archive, *sys.argv = sys.argv[1:]
if Path(bpy.utils.resource_path("USER"), "extensions", "user_default", "dreamtime").exists():
    done = bpy.ops.preferences.addon_enable(module="{MODULE}")
else:
    done = bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
assert done == {{"FINISHED"}}, done
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def build_addon() -> ModuleType:
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def staged(build_addon: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the staged add-on, called dreamtime; the folder above it holds nothing else."""
    return build_addon.stage(tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="session")
def wheels(build_addon: ModuleType, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels from PyPI for Linux, filled once and kept between the runs."""
    folder = Path(pytestconfig.cache.mkdir("addon-wheels"))
    targets = [build_addon.Target(generation, "linux-x64") for generation in build_addon.GENERATIONS]
    try:
        build_addon.wheel(build_addon.SETUPTOOLS, build_addon.SETUPTOOLS_SHA256, folder, offline=False)
        for target in targets:
            digest = build_addon.PYZMQ_SHA256[target.generation, target.platform]
            build_addon.wheel(target.wheel, digest, folder, offline=False)
    except build_addon.BuildError as error:
        if _reaches_an_index(tmp_path_factory.mktemp("any")):
            raise
        pytest.skip(f"needs wheels from PyPI, and pip reaches no index: {error}")
    return folder


def _reaches_an_index(folder: Path) -> bool:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", folder, "iniconfig"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def packed(build_addon: ModuleType, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """packed(generation, backend) makes the extension's zip for Linux, with or without the backend's wheel."""

    def packed(generation: str, backend: bool) -> Path:
        target = build_addon.Target(generation, "linux-x64")
        [path] = build_addon.build(tmp_path_factory.mktemp("zip"), [target], wheels, offline=True, backend=backend)
        return path

    return packed


@pytest.fixture(scope="session")
def addon_zip(packed: Callable[..., Path]) -> Path:
    """The extension for Blender 4.5 on Linux, without the backend's wheel."""
    return packed("4.5", backend=False)


@pytest.fixture(scope="session")
def addon_zip52(packed: Callable[..., Path]) -> Path:
    """The extension for Blender 5.1 and later on Linux, without the backend's wheel."""
    return packed("5.1", backend=False)


def _with_bpy(environment: str, python: str, bpy: str) -> Path:
    found = ROOT / environment / "bin" / "python"
    if not found.exists():
        pytest.skip(f"needs Blender's module: no {environment} here; `make test` makes it where there is {python}")
    assert list(found.parents[1].glob(f"lib/python3.*/site-packages/bpy-{bpy}.*.dist-info")), f"no bpy in {environment}"
    return found


@pytest.fixture(scope="session")
def blender45() -> Path:
    """A Python with Blender 4.5 as its module bpy."""
    return _with_bpy(".venv-bpy", "Python 3.11", "4.5")


@pytest.fixture(scope="session")
def blender52() -> Path:
    """A Python with Blender 5.2 as its module bpy."""
    return _with_bpy(".venv-bpy52", "Python 3.13", "5.2")


@pytest.fixture(params=["blender45", "blender52"])
def blender(request: pytest.FixtureRequest) -> Path:
    """Each of the two: a test that asks for it runs twice."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def run_blender(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Runs a script in a Blender that has the extension installed and enabled; returns what it wrote.

    run_blender(python, script, *arguments, environment={}, seconds=600.0), where `python` comes from blender45 or
    blender52, and `script` is a file or its text. The calls of one test share Blender's user folder, so the second
    is the same Blender opened again. Fails if the script fails, or leaves a traceback in stderr.
    """

    def run(
        python: Path,
        script: Path | str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        seconds: float = 600.0,
    ) -> str:
        newer = python.parts[-3] == ".venv-bpy52"
        archive = request.getfixturevalue("addon_zip52" if newer else "addon_zip")
        resources = tmp_path / f"blender-{python.parts[-3]}"
        resources.mkdir(exist_ok=True)
        if isinstance(script, str):
            text, script = script, tmp_path / "script.py"
            script.write_text(text)
        own = {"BLENDER_USER_RESOURCES": str(resources), "DREAMTIME_HOME": str(tmp_path / "dreamtime-home")}
        done = subprocess.run(
            [python, "-c", START, archive, script, *map(str, arguments)],
            env={**os.environ, **own, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        return done.stdout

    return run


PACKAGE = "staged_dreamtime"


@pytest.fixture(scope="session")
def module(staged: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the add-on by its name within it; the package itself, which needs bpy, is not run."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(staged)]
    sys.modules[PACKAGE] = package
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]
