"""The add-on as a release brings it: with the backend, which it installs and runs by itself."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "in_blender"


@pytest.fixture(scope="session")
def addon_zip(packed: Callable[..., Path]) -> Path:
    """Instead of the small ones: the zip brings the backend's wheel."""
    return packed("4.5", backend=True)


@pytest.fixture(scope="session")
def addon_zip52(packed: Callable[..., Path]) -> Path:
    return packed("5.1", backend=True)


@pytest.fixture
def spacious(tmp_path: Path) -> Iterator[None]:
    """Pytest keeps the folders of three runs, and these hold more than a gigabyte each."""
    yield
    shutil.rmtree(tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures("spacious")
def test_a_backend_is_installed_started_and_used_from_inside_blender(
    blender: Path, run_blender: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    assert "from nothing to an object" in run_blender(blender, HERE / "first_minutes.py", seconds=2400.0)
