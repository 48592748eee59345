"""What is found out about a computer, and where its Python is."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi, to be filled."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    return tmp_path / "nvidia-smi"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'NVIDIA GeForce RTX 4090, 580.65.06, 8.9'", ("NVIDIA GeForce RTX 4090", 580, (8, 9))),
        ("echo 'Card, with comma, 535.1, 7.5'; echo 'Other, 535.1, 8.6'", ("Card, with comma", 535, (7, 5))),
        ("echo 'Old, 390.10, [N/A]'", None),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", None),
        ("exit 0", None),
    ],
)
def test_a_card_is_what_the_driver_tells(
    m: Any, driver: Path, script: str, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.write_text(f"#!/bin/sh\n{script}\n")
    driver.chmod(0o755)
    assert m.machine.card() == (m.machine.Card(*found) if found else None)


def test_a_driver_that_does_not_answer_is_not_waited_for(m: Any, driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m.machine, "_LOOK_SECONDS", 0.3)
    driver.write_text("#!/bin/sh\nexec sleep 600\n")
    driver.chmod(0o755)
    assert m.machine.card() is None


def test_without_a_driver_there_is_no_card(m: Any, driver: Path) -> None:
    assert m.machine.card() is None


def test_this_computer_is_described(m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    found = m.machine.look(Path("/python"))
    assert (found.system, found.processor, found.python) == ("linux", "x86_64", Path("/python"))
    assert (found.python_version, found.long_paths) == (sys.version_info[:2], True)


def test_python_is_found_beside_blender(m: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/blender/blender")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "nowhere"))
    with pytest.raises(m.troubles.CannotInstall, match="no program of its own"):
        m.machine.interpreter()
    own = tmp_path / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    own.parent.mkdir()
    own.touch()
    assert m.machine.interpreter() == own


def test_blender_may_name_its_python_itself(m: Any) -> None:
    assert m.machine.interpreter() == Path(sys.executable)


def test_the_folder_is_the_extensions_but_where_windows_wants_short_paths(
    m: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "short"))
    assert m.machine.local_folder(tmp_path) == tmp_path / "backend"
    monkeypatch.setattr(m.machine, "long_paths_allowed", lambda: False)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert m.machine.local_folder(tmp_path) == tmp_path / "short" / "dreamtime" / version
