"""The add-on as a release brings it: with the backend, which it installs and runs by itself."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent / "in_blender"


def _whole(build_addon: ModuleType, wheels: Path, out: Path, generation: str) -> Path:
    target = build_addon.Target(generation, "linux-x64")
    [path] = build_addon.build(out, [target], wheels, offline=True, backend=True)
    return path


@pytest.fixture(scope="session")
def addon_zip(build_addon: ModuleType, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instead of the small ones: the zip brings the backend's wheel."""
    return _whole(build_addon, wheels, tmp_path_factory.mktemp("whole"), "4.5")


@pytest.fixture(scope="session")
def addon_zip52(build_addon: ModuleType, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _whole(build_addon, wheels, tmp_path_factory.mktemp("whole"), "5.1")


@pytest.fixture
def spacious(tmp_path: Path) -> Iterator[None]:
    """Pytest keeps the folders of three runs, and these hold more than a gigabyte each."""
    yield
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("spacious")
def test_a_backend_is_installed_started_and_used_from_inside_blender(
    blender: Path, run_blender: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    assert "from nothing to an object" in run_blender(blender, HERE / "first_minutes.py", seconds=2400.0)
