"""What the local backend takes on the disk, and its end."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

VERSION = "1.2.3"
MB = 10**6


@pytest.fixture
def whole(m: Any, tmp_path: Path) -> Any:
    """A backend with all that may be in its folder; nothing in it can run."""
    environment = m.environment.Environment(tmp_path / "local")
    for folder, size in {
        environment.path: 5 * MB,
        environment.partial: 3 * MB,
        environment.replaced: 2 * MB,
        environment.downloads / "http": 4 * MB,
        environment.home / "models" / "sd": 7 * MB,
        environment.home / "jobs": MB,
        environment.logs: 1000,
    }.items():
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(size))
    m.environment.mark(environment.path, m.environment.Marker(VERSION, "cpu", "3.11"))
    environment.python.parent.mkdir()
    environment.python.touch()
    return environment


@pytest.fixture
def backend(m: Any, whole: Any) -> Any:
    return m.process.LocalBackend(whole, VERSION)


def removed(backend: Any, until: Callable[[Callable[[], bool]], None]) -> Any:
    """How it stands after a removal."""
    backend.remove()
    until(lambda: backend.poll().stage != "removing")
    return backend.poll()


def test_what_takes_the_room_is_told(m: Any, whole: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(9 * MB))
    (whole.home / "models" / "link").symlink_to(tmp_path / "elsewhere")
    found = m.removal.usage(whole)
    assert (found.programs // MB, found.downloads // MB, found.models // MB, found.rest // MB) == (10, 4, 7, 1)
    assert str(found) == "22 MB: programs 10 MB, downloads 4 MB, models 7 MB, jobs and results 1 MB"
    assert str(m.removal.Usage(5_400 * MB, 0, 0, 5_000)) == "5.4 GB: programs 5.4 GB"


def test_nothing_takes_no_room(m: Any, tmp_path: Path) -> None:
    assert m.removal.usage(m.environment.Environment(tmp_path / "none")).total == 0
    assert not (tmp_path / "none").exists()


def test_removing_leaves_nothing(backend: Any, whole: Any, until: Any) -> None:
    assert backend.poll().stage == "stopped"
    status = removed(backend, until)
    assert (status.stage, status.remedy) == ("absent", "")
    assert list(whole.folder.iterdir()) == []


def test_what_is_linked_to_stays(backend: Any, whole: Any, until: Any, tmp_path: Path) -> None:
    """Artists move large folders to other disks."""
    disk = tmp_path / "another disk"
    shutil.move(whole.folder, disk)
    whole.folder.symlink_to(disk)
    (tmp_path / "my models").mkdir()
    (tmp_path / "my models" / "file").touch()
    (whole.home / "models" / "mine").symlink_to(tmp_path / "my models")
    (disk / "link").symlink_to(tmp_path / "my models")
    assert removed(backend, until).stage == "absent"
    assert list(disk.iterdir()) == []
    assert whole.folder.is_symlink()
    assert (tmp_path / "my models" / "file").exists()


def test_nothing_is_removed_under_a_running_backend(m: Any, environment: Any, until: Any) -> None:
    one, other = (m.process.LocalBackend(environment, VERSION) for _ in range(2))
    one.start()
    try:
        with pytest.raises(m.troubles.CannotRemove, match=r"the backend runs, .* in use; stop the backend first"):
            one.remove()
        until(lambda: one.poll().stage == "running")
        for blender in (one, other):
            with pytest.raises(m.troubles.CannotRemove, match="stop the backend first"):
                blender.remove()
    finally:
        one.stop()
        until(lambda: one.poll().stage == "stopped")
    assert environment.readiness(VERSION) == "ready"
    assert removed(one, until).stage == "absent"


def test_one_thing_at_a_time(
    m: Any, backend: Any, whole: Any, until: Any, machine: Any, brought: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    plan = replace(m.plan.plan(whole.folder, brought, machine), python=slow)
    m.identity.Identity.of(os.getpid()).write(whole.lock)  # another Blender
    with pytest.raises(m.troubles.CannotRemove, match="installed or removed already; wait"):
        backend.remove()
    assert backend.poll().stage == "stopped"
    whole.lock.unlink()

    backend.install(m.install.Installation(plan, VERSION), online=True)
    with pytest.raises(m.troubles.CannotRemove, match="installed or removed already; wait"):
        backend.remove()
    backend.installation.cancel()
    until(lambda: backend.poll().stage == "stopped")

    backend.remove()
    with pytest.raises(m.troubles.CannotRemove, match="installed or removed already; wait"):
        backend.remove()
    with pytest.raises(m.troubles.CannotStart, match="is being removed; wait"):
        backend.install(m.install.Installation(plan, VERSION), online=True)
    backend.start()
    assert backend._process is None
    until(lambda: backend.poll().stage == "absent")


def test_files_in_use_are_waited_for_and_then_nothing_is_lost(
    m: Any, backend: Any, whole: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where nothing is moved that a program has open."""
    rename, left = Path.rename, [99]

    def held(self: Path, target: Path) -> Path:
        if self == whole.path and left[0]:
            left[0] -= 1
            raise PermissionError(13, "Access is denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", held)
    monkeypatch.setattr(m.files, "_PAUSES", (0.001,) * 5)
    status = removed(backend, until)
    assert (status.stage, status.remedy) == ("stopped", "close what uses it and remove the backend again")
    assert status.sentence == f"{whole.folder} could not be removed (Access is denied)"
    assert (whole.home / "models" / "sd" / "file").exists()
    assert not whole.lock.exists()
    left[0] = 5
    assert removed(backend, until).stage == "absent"
    assert list(whole.folder.iterdir()) == []


def test_what_a_closed_blender_left_can_be_removed_later(m: Any, backend: Any, whole: Any, until: Any) -> None:
    shutil.rmtree(whole.replaced)
    whole.path.rename(whole.replaced)
    assert m.process.LocalBackend(whole, VERSION).poll().stage == "absent"
    assert m.removal.usage(whole).total > 0
    assert removed(backend, until).stage == "absent"
    assert m.removal.usage(whole).total == 0


def test_it_is_said_what_uninstalling_deletes(m: Any, tmp_path: Path) -> None:
    inside = m.removal.at_uninstall(m.environment.Environment(tmp_path / "user" / "backend"), tmp_path / "user")
    outside = m.removal.at_uninstall(m.environment.Environment(tmp_path / "short"), tmp_path / "user")
    assert "deletes, without asking, the backend with its models" in inside
    assert "The backend stays: remove it here first" in outside
    for sentence in (inside, outside):
        assert "results that are in no scene yet" in sentence
