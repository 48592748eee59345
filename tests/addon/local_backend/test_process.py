"""The backend's process, with a stand-in that does what its folder says."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

VERSION = "1.2.3"


class Desk:
    """A Blender with the add-on; the clock is the test's."""

    def __init__(self, m: Any, environment: Any, until: Callable[[Callable[[], bool]], None]) -> None:
        self.now = 0.0
        self.backend = m.process.LocalBackend(environment, VERSION, lambda: self.now)
        self._until = until

    def becomes(self, stage: str) -> Any:
        """Polls until it stands so."""

        def stands() -> bool:
            self.now += 0.01
            return self.backend.poll().stage == stage

        self._until(stands)
        return self.backend.poll()

    def pid(self) -> int:
        assert self.backend._identity
        return self.backend._identity.pid


@pytest.fixture
def blender(m: Any, environment: Any, until: Any) -> Iterator[Callable[[], Desk]]:
    """Makes Blenders that share a local backend; in the end no process is left."""
    desks: list[Desk] = []

    def blender() -> Desk:
        desks.append(Desk(m, environment, until))
        return desks[-1]

    yield blender
    for desk in desks:
        if (process := desk.backend._process) is not None:
            process.kill()
            process.wait()


def behave(environment: Any, how: str) -> None:
    (environment.home / "behaviour").write_text(how)


def test_it_starts_runs_and_stops(blender: Any, environment: Any, pairing: Any) -> None:
    desk = blender()
    assert desk.backend.poll().stage == "stopped"
    desk.backend.start()
    assert desk.backend.poll().stage == "starting"
    status = desk.becomes("running")
    assert (status.pairing, status.sentence, status.log_tail) == (pairing, "The backend runs", ())
    process = psutil.Process(desk.pid())
    assert os.getpgid(process.pid) == process.pid
    log = (environment.logs / "backend.log").read_text()
    assert log.startswith("serve --port 0 --device cpu in ")
    desk.backend.start()  # a second press changes nothing
    assert desk.pid() == process.pid
    desk.backend.stop()
    assert desk.backend.poll().stage in ("stopping", "stopped")
    desk.becomes("stopped")
    assert not process.is_running()
    assert not (environment.folder / "running.json").exists()


def test_a_line_of_an_earlier_run_is_not_taken_for_the_new_one(blender: Any, environment: Any) -> None:
    desk = blender()
    desk.backend.start()
    desk.becomes("running")
    desk.backend.stop()
    desk.becomes("stopped")
    behave(environment, "hang")
    desk.backend.start()
    for _ in range(20):
        assert desk.backend.poll().stage == "starting"
    desk.now += 31
    assert "still starts" in desk.backend.poll().sentence


def test_one_crash_is_mended_and_said(blender: Any, environment: Any) -> None:
    behave(environment, "once")
    desk = blender()
    desk.backend.start()
    assert desk.becomes("running").sentence == "The backend crashed and was started again"
    os.kill(desk.pid(), signal.SIGKILL)
    status = desk.becomes("crashed")
    assert status.sentence == "the backend crashed twice (SIGKILL)"
    assert "its log" in status.remedy
    desk.backend.start()  # the artist's own start may crash once again
    os.kill(desk.pid(), signal.SIGKILL)
    desk.becomes("running")


def test_a_second_crash_is_told_with_the_end_of_the_log(blender: Any, environment: Any) -> None:
    behave(environment, "always")
    desk = blender()
    desk.backend.start()
    status = desk.becomes("crashed")
    assert status.log_tail[-1] == "Traceback: something broke"
    assert status.pairing is None
    assert (environment.logs / "backend.log.1").exists()


def test_what_the_backend_complains_of_is_told_and_not_tried_again(blender: Any, environment: Any) -> None:
    behave(environment, "refused")
    desk = blender()
    desk.backend.start()
    status = desk.becomes("crashed")
    assert (status.sentence, status.remedy) == ("the database is damaged", "restore it")
    assert not (environment.logs / "backend.log.1").exists()


def test_a_killed_one_is_known_by_its_group_and_stubborn_ones_are_killed(
    blender: Any, environment: Any, until: Any
) -> None:
    behave(environment, "stubborn")
    desk = blender()
    desk.backend.start()
    desk.becomes("running")
    process = psutil.Process(desk.pid())
    desk.backend.stop()
    desk.now += 9.9
    assert desk.backend.poll().stage == "stopping"
    assert process.is_running()
    desk.now += 0.2
    desk.becomes("stopped")
    assert not process.is_running()


def test_the_next_blender_finds_it_and_can_stop_it(blender: Any, pairing: Any) -> None:
    first = blender()
    first.backend.start()
    first.becomes("running")
    pid = first.pid()
    first.backend.leave(keep=True)
    second = blender()
    status = second.backend.poll()
    assert (status.stage, status.pairing, second.pid()) == ("running", pairing, pid)
    second.backend.start()
    assert second.pid() == pid
    second.backend.stop()
    first.backend._process.wait(120)
    second.becomes("stopped")


def test_after_an_update_the_old_one_is_found_and_its_files_are_left_alone(
    m: Any, blender: Any, environment: Any, until: Any
) -> None:
    first = blender()
    first.backend.start()
    first.becomes("running")
    updated = m.process.LocalBackend(environment, "9.9.9")
    status = updated.poll()
    assert (status.stage, status.remedy) == ("running", "stop it and install")
    with pytest.raises(m.troubles.CannotStart, match="its files are in use"):
        updated.install(None, online=True)
    updated.stop()
    first.becomes("stopped")
    until(lambda: updated.poll().stage == "outdated")


def test_blender_that_leaves_can_take_it_along(blender: Any) -> None:
    desk = blender()
    desk.backend.start()
    desk.becomes("running")
    desk.backend.leave(keep=False)
    assert desk.backend._process.wait(120) == 0


def test_one_that_another_blender_started_is_used(blender: Any, environment: Any, pairing: Any) -> None:
    first, second = blender(), blender()
    first.backend.start()
    first.becomes("running")
    (environment.folder / "running.json").unlink()
    second.backend.start()
    status = second.becomes("running")
    assert status.pairing == pairing
    assert second.backend._process is None
    second.backend.stop()
    assert second.backend.poll().sentence == "another program runs this backend"
    assert first.backend.poll().stage == "running"


def test_the_end_of_one_that_was_found_is_noticed(blender: Any) -> None:
    first, second = blender(), blender()
    first.backend.start()
    first.becomes("running")
    second.backend.start()
    os.kill(first.pid(), signal.SIGKILL)
    assert second.becomes("crashed").sentence == "the backend ended"


def test_a_record_of_another_process_is_not_heeded(m: Any, blender: Any, environment: Any) -> None:
    m.identity.Identity(os.getpid(), "another time").write(environment.folder / "running.json")
    desk = blender()
    desk.backend.start()
    desk.becomes("running")
    assert desk.pid() != os.getpid()


def test_without_an_environment_it_cannot_start(m: Any, tmp_path: Path) -> None:
    backend = m.process.LocalBackend(m.environment.Environment(tmp_path / "nothing"), VERSION)
    assert backend.poll().stage == "absent"
    with pytest.raises(m.troubles.CannotStart, match="not installed; install the backend first"):
        backend.start()
    backend.stop()
    backend.leave(keep=True)
    assert not (tmp_path / "nothing").exists()


def test_one_of_another_version_cannot_start(m: Any, environment: Any) -> None:
    backend = m.process.LocalBackend(environment, "9.9.9")
    assert backend.poll().stage == "outdated"
    with pytest.raises(m.troubles.CannotStart, match="another version"):
        backend.start()


def test_an_installation_shows_and_then_the_backend_can_start(
    m: Any, machine: Any, brought: Path, tmp_path: Path, until: Any
) -> None:
    plan = m.plan.plan(tmp_path / "local", brought, machine)
    backend = m.process.LocalBackend(plan.environment, VERSION)
    backend.install(m.install.Installation(plan, VERSION), online=True)
    assert backend.poll().stage == "installing"
    assert "%" in backend.poll().sentence
    backend.start()  # not yet
    assert backend.poll().stage == "installing"
    until(lambda: backend.poll().stage != "installing")
    assert backend.poll().stage == "stopped"


def test_a_failed_installation_is_told(m: Any, machine: Any, brought: Path, tmp_path: Path, until: Any) -> None:
    plan = m.plan.plan(tmp_path / "local", brought, machine)
    backend = m.process.LocalBackend(plan.environment, VERSION)
    installation = m.install.Installation(plan, VERSION)
    backend.install(installation, online=True)
    backend.leave(keep=True)
    assert installation.join(600)
    status = backend.poll()
    assert (status.stage, status.sentence) == ("absent", "the installation was cancelled")
    assert status.remedy


def test_nothing_is_installed_under_a_running_backend(
    m: Any, blender: Any, machine: Any, brought: Path, environment: Any
) -> None:
    desk = blender()
    desk.backend.start()
    desk.becomes("running")
    plan = m.plan.plan(environment.folder, brought, machine)
    with pytest.raises(m.troubles.CannotStart, match="stop it first"):
        desk.backend.install(m.install.Installation(plan, VERSION), online=True)
