"""What is planned on which computer, and what is refused before anything is done."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
GOOD_CARD = ("NVIDIA GeForce RTX 4090", 580, (8, 9))


@pytest.mark.parametrize(
    ("system", "processor", "release", "card", "build", "requirement", "index"),
    [
        ("linux", "x86_64", 0, None, "cpu", "torch==2.13.0+cpu", "https://download.pytorch.org/whl/cpu"),
        ("linux", "x86_64", 0, GOOD_CARD, "cuda", "torch==2.13.0", ""),
        ("windows", "x86_64", 0, None, "cpu", "torch==2.13.0", ""),
        ("windows", "x86_64", 0, GOOD_CARD, "cuda", "torch==2.13.0+cu130", "https://download.pytorch.org/whl/cu130"),
        ("macos", "arm64", 15, None, "mps", "torch==2.13.0", ""),
    ],
)
def test_the_build_of_torch_follows_the_computer(
    m: Any,
    machine: Any,
    brought: Path,
    tmp_path: Path,
    system: str,
    processor: str,
    release: int,
    card: Any,
    build: str,
    requirement: str,
    index: str,
) -> None:
    known = m.machine.Card(*card) if card else None
    computer = replace(machine, system=system, processor=processor, release=release, card=known)
    plan = m.plan.plan(tmp_path / "not" / "there", brought, computer)
    assert (plan.build, plan.requirements[0], plan.index) == (build, requirement, index)
    assert plan.requirements[1] == str(brought / "dreamtime-1.2.3-py3-none-any.whl")
    assert plan.arguments[:3] == ("--only-binary=:all:", "--constraint", str(brought / "requirements.lock"))
    assert ("--extra-index-url" in plan.arguments) == bool(index)
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (("Tesla T4", 550, (7, 5)), "driver of the Tesla T4 is 550; with 580 or newer"),
        (("GeForce GTX 1080", 580, (6, 1)), "GTX 1080 is too old for CUDA 13"),
    ],
)
def test_a_card_that_cannot_be_used_is_explained(
    m: Any, machine: Any, brought: Path, tmp_path: Path, card: Any, says: str
) -> None:
    plan = m.plan.plan(tmp_path, brought, replace(machine, card=m.machine.Card(*card)))
    assert plan.build == "cpu"
    assert says in plan.sentences[-1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"python_version": (3, 14)}, "brings Python 3.14, and the backend needs 3.11 to 3.13"),
        ({"python_version": (3, 10)}, "brings Python 3.10"),
        ({"system": "macos", "processor": "x86_64", "release": 15}, "Apple processor and macOS 14"),
        ({"system": "macos", "processor": "arm64", "release": 13}, "Apple processor and macOS 14"),
        ({"processor": "arm64"}, "not made for linux on arm64"),
        ({"system": "freebsd"}, "not made for freebsd"),
    ],
)
def test_a_computer_that_cannot_run_it_is_refused(
    m: Any, machine: Any, brought: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(m.troubles.CannotInstall, match=re.escape(says)) as refused:
        m.plan.plan(tmp_path, brought, replace(machine, **change))
    assert "another computer" in refused.value.remedy


def test_the_dialogue_tells_size_time_room_and_place(
    m: Any, machine: Any, brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 9 * 10**9))  # type: ignore[attr-defined]
    cpu = m.plan.plan(tmp_path, brought, machine)
    told = " ".join(cpu.sentences)
    assert cpu.free_mb == 9000
    for part in ("340 MB", "PyTorch's own site", f"about {cpu.minutes} min", "1.9 GB of the 9.0 GB", str(tmp_path)):
        assert part in told
    card = m.machine.Card(*GOOD_CARD)
    assert m.plan.plan(tmp_path, brought, replace(machine, card=card)).minutes > 3 * cpu.minutes


def test_too_little_room_is_refused(
    m: Any, machine: Any, brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 10**9))  # type: ignore[attr-defined]
    with pytest.raises(m.troubles.CannotInstall, match=r"needs 2.4 GB on the disk and 1.0 GB are free; make room"):
        m.plan.plan(tmp_path, brought, machine)


def test_an_addon_without_the_backend_says_so(m: Any, machine: Any, tmp_path: Path) -> None:
    with pytest.raises(m.troubles.CannotInstall, match="does not bring the backend"):
        m.plan.plan(tmp_path, tmp_path / "backend_wheel", machine)


def test_a_folder_too_deep_for_windows_is_refused(m: Any, machine: Any, brought: Path, tmp_path: Path) -> None:
    windows = replace(machine, system="windows", long_paths=False)
    assert m.plan.plan(Path("/", "x" * 50), brought, windows)
    with pytest.raises(m.troubles.CannotInstall, match="too deep for Windows"):
        m.plan.plan(Path("/", "x" * 60), brought, windows)


def test_index_and_sizes_were_chosen_for_the_torch_that_is_pinned() -> None:
    """When this fails, look up the CUDA version of the new torch, and measure its sizes."""
    assert "\ntorch==2.13.0\n" in (ROOT / "requirements.lock").read_text()
