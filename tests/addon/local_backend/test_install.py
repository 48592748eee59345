"""The installation, with the real venv and pip, and a stand-in for what they install."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

VERSION = "1.2.3"
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def plan(m: Any, machine: Any, brought: Path, tmp_path: Path) -> Any:
    return m.plan.plan(tmp_path / "local", brought, machine)


def behave(environment: Any, how: str) -> None:
    environment.home.mkdir(parents=True, exist_ok=True)
    (environment.home / "behaviour").write_text(how)


def ended(installation: Any) -> Any:
    """How an installation ends."""
    installation.start(online=True)
    assert installation.join(600)
    return installation.error


def left_behind(environment: Any) -> list[str]:
    return sorted(path.name for path in environment.folder.iterdir() if path.name not in ("logs", "home"))


def quick_python(tmp_path: Path, script: str) -> Path:
    """A stand-in for Blender's Python, whose "-m venv FOLDER" does what the script says."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def quick_environment(tmp_path: Path, script: str) -> Path:
    """A stand-in for Blender's Python that makes an environment whose Python is the script."""
    inner = tmp_path / "inner"
    inner.write_text(f'#!/bin/sh\ncase "$*" in *--version*) echo "pip 24.0 from /x"; exit 0;; esac\n{script}\n')
    inner.chmod(0o755)
    return quick_python(tmp_path, f'mkdir -p "$3/bin" && cp {shlex.quote(str(inner))} "$3/bin/python"')


def test_it_is_whole_marked_and_works_where_it_was_moved(m: Any, installed: Any) -> None:
    assert installed.readiness(VERSION) == "ready"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert installed.marker() == m.environment.Marker(VERSION, "cpu", version)
    assert left_behind(installed) == ["env"]
    home = {"DREAMTIME_HOME": str(installed.home)}
    installed.home.mkdir(exist_ok=True)
    said = subprocess.run(
        [installed.python, "-P", "-m", "backend", "doctor"],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(installed.path) in said
    assert subprocess.run([installed.python, "-m", "pip", "--version"], capture_output=True, check=True)
    log = (installed.logs / "install.log").read_text()
    assert log.count("\n$ ") == 5
    assert "Successfully installed dreamtime-1.2.3 torch-2.13.0+cpu" in log
    assert "env.partial" in log


def test_progress_is_told_and_ends_at_one(m: Any, plan: Any, tmp_path: Path) -> None:
    lines = "echo '  Downloading torch-2.whl (340.0 MB)'; echo 'Installing collected packages: x'"
    installation = m.install.Installation(
        replace(plan, python=quick_environment(tmp_path, lines), cost=replace(plan.cost, download_mb=340)), VERSION
    )
    assert (installation.progress.fraction, installation.finished) == (0.0, False)
    assert ended(installation) is None
    assert (installation.progress.phase, installation.progress.fraction) == ("Installed", 1.0)
    assert "--progress-bar off" in installation.log.read_text()  # that pip is too old to tell more


def test_nothing_happens_while_blender_may_not_go_online(m: Any, plan: Any) -> None:
    with pytest.raises(m.troubles.CannotInstall, match="Allow Online Access"):
        m.install.Installation(plan, VERSION).start(online=False)
    assert not plan.environment.folder.exists()


def test_cancelling_ends_all_processes_and_leaves_nothing_half_made(
    m: Any, plan: Any, tmp_path: Path, until: Until
) -> None:
    behave(plan.environment, "hang")  # when the doctor is called
    me = psutil.Process()
    others = set(me.children(recursive=True))  # of tests before: multiprocessing's tracker stays to the end
    installation = m.install.Installation(plan, VERSION)
    installation.start(online=True)
    until(lambda: installation.finished or (installation.log.exists() and "doctor in" in installation.log.read_text()))
    assert not installation.finished
    children = set(me.children(recursive=True)) - others
    assert any(str(plan.environment.partial) in " ".join(child.cmdline()) for child in children)
    installation.cancel()
    assert installation.join(600)
    assert isinstance(installation.error, m.troubles.InstallStopped)
    assert left_behind(plan.environment) == []
    _, alive = psutil.wait_procs(children, timeout=120)
    assert alive == []
    assert plan.environment.readiness(VERSION) == "absent"
    assert ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, "")), VERSION)) is None
    assert plan.environment.readiness(VERSION) == "ready"


def test_cancelling_before_the_first_program_starts_stops_it_too(m: Any, plan: Any, tmp_path: Path) -> None:
    installation = m.install.Installation(replace(plan, python=quick_python(tmp_path, "exec sleep 600")), VERSION)
    installation.cancel()
    assert isinstance(ended(installation), m.troubles.InstallStopped)


def test_what_pip_keeps_lies_with_the_backend(m: Any, plan: Any, tmp_path: Path) -> None:
    """Or gigabytes would stay in a folder of pip's own when the backend is removed."""
    told = tmp_path / "told"
    python = quick_environment(tmp_path, f'echo "$PIP_CACHE_DIR" >> "{told}"')
    assert ended(m.install.Installation(replace(plan, python=python), VERSION)) is None
    assert set(told.read_text().splitlines()) == {str(plan.environment.folder / "downloads")}


def test_a_failure_is_explained_with_the_end_of_the_log(m: Any, plan: Any, tmp_path: Path) -> None:
    python = quick_python(tmp_path, "echo trying; echo '/usr/bin/python: No module named ensurepip' >&2; exit 1")
    error = ended(m.install.Installation(replace(plan, python=python), VERSION))
    assert "without ensurepip" in error.sentence
    assert "blender.org" in error.remedy
    assert error.log_tail == ("trying", "/usr/bin/python: No module named ensurepip")
    assert left_behind(plan.environment) == []


def test_a_python_that_is_gone_is_explained(m: Any, plan: Any, tmp_path: Path) -> None:
    error = ended(m.install.Installation(replace(plan, python=tmp_path / "gone"), VERSION))
    assert "installing the backend failed" in error.sentence
    assert "gone" in error.log_tail[0]


def test_a_package_that_is_not_there_is_explained(m: Any, plan: Any) -> None:
    absent = ("torch==2.13.0+cu130", *plan.requirements[1:])
    error = ended(m.install.Installation(replace(plan, requirements=absent), VERSION))
    assert "not offered for this Python and system" in error.sentence
    assert left_behind(plan.environment) == []


def test_an_environment_that_does_not_work_is_not_used(m: Any, plan: Any, tmp_path: Path) -> None:
    script = 'case "$*" in *doctor*) echo "mend first: packages"; exit 1;; esac'
    error = ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, script)), VERSION))
    assert error.sentence == "trying the backend failed"
    assert error.log_tail == ("mend first: packages",)
    assert plan.environment.readiness(VERSION) == "absent"


def test_one_of_another_version_is_replaced_and_what_is_kept_stays(m: Any, plan: Any, tmp_path: Path) -> None:
    quick = replace(plan, python=quick_environment(tmp_path, ""))
    assert ended(m.install.Installation(quick, "1.0.0")) is None
    assert plan.environment.readiness("1.0.0") == "ready"
    assert plan.environment.readiness(VERSION) == "outdated"
    (plan.environment.path / "old").touch()
    behave(plan.environment, "")
    assert ended(m.install.Installation(quick, VERSION)) is None
    assert plan.environment.readiness(VERSION) == "ready"
    assert not (plan.environment.path / "old").exists()
    assert left_behind(plan.environment) == ["env"]
    assert (plan.environment.home / "behaviour").exists()


def test_a_failed_update_keeps_the_old_one(m: Any, plan: Any, tmp_path: Path) -> None:
    assert ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, "")), "1.0.0")) is None
    assert ended(m.install.Installation(replace(plan, python=tmp_path / "gone"), VERSION))
    assert plan.environment.readiness("1.0.0") == "ready"


def test_one_whose_python_is_gone_is_outdated(m: Any, plan: Any, tmp_path: Path) -> None:
    assert ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, "")), VERSION)) is None
    plan.environment.python.unlink()
    plan.environment.python.symlink_to(tmp_path / "blender-was-removed")
    assert plan.environment.readiness(VERSION) == "outdated"


def test_what_an_interrupted_one_left_is_removed_first(m: Any, plan: Any, tmp_path: Path) -> None:
    plan.environment.partial.mkdir(parents=True)
    (plan.environment.partial / "half").touch()
    assert ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, "")), VERSION)) is None
    assert not (plan.environment.path / "half").exists()


def test_two_at_a_time_are_refused_and_a_dead_ones_record_is_not_heeded(m: Any, plan: Any, tmp_path: Path) -> None:
    plan.environment.folder.mkdir()
    record = plan.environment.folder / "installing.json"
    m.identity.Identity.of(os.getpid()).write(record)
    quick = replace(plan, python=quick_environment(tmp_path, ""))
    with pytest.raises(m.troubles.CannotInstall, match="being installed or removed already"):
        m.install.Installation(quick, VERSION).start(online=True)
    m.identity.Identity(os.getpid(), "another time").write(record)
    assert ended(m.install.Installation(quick, VERSION)) is None
    assert not record.exists()


def antivirus(monkeypatch: pytest.MonkeyPatch, m: Any, times: int) -> None:
    """Files are held open for so many attempts to rename the new environment."""
    rename, left = Path.rename, [times]

    def held(self: Path, target: Path) -> Path:
        if self.name == "env.partial" and left[0]:
            left[0] -= 1
            raise PermissionError(13, "Access is denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", held)
    monkeypatch.setattr(m.files, "_PAUSES", (0.001,) * 5)


def test_files_held_by_an_antivirus_program_are_waited_for(
    m: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    antivirus(monkeypatch, m, 5)
    assert ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, "")), VERSION)) is None


def test_but_not_for_ever_and_the_old_one_is_put_back(
    m: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(plan, python=quick_environment(tmp_path, ""))
    assert ended(m.install.Installation(quick, "1.0.0")) is None
    antivirus(monkeypatch, m, 99)
    error = ended(m.install.Installation(quick, VERSION))
    assert "could not be written" in error.sentence
    assert "antivirus" in error.remedy
    assert plan.environment.readiness("1.0.0") == "ready"
    assert left_behind(plan.environment) == ["env"]


def test_a_folder_that_cannot_be_made_is_refused(m: Any, plan: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    elsewhere = replace(plan, environment=m.environment.Environment(tmp_path / "file" / "local"))
    with pytest.raises(m.troubles.CannotInstall, match="cannot write"):
        m.install.Installation(elsewhere, VERSION).start(online=True)


def test_a_full_disk_is_explained(m: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(m.install, "mark", full)
    error = ended(m.install.Installation(replace(plan, python=quick_environment(tmp_path, "")), VERSION))
    assert "disk became full" in error.sentence
    assert shutil.disk_usage(tmp_path).free > 0
    assert left_behind(plan.environment) == []
