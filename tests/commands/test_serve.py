"""serve, as a user runs it."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.commands import serve as module
from backend.errors import UserError
from backend.home import VARIABLE
from backend.service.cluster import guard

Serve = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts the command with workers that compute nothing."""
    started: list[subprocess.Popen[str]] = []

    def serve(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "backend", "serve", "--worker", "backend.benches.worker", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, VARIABLE: str(tmp_path)},
        )
        started.append(process)
        return process

    yield serve
    for process in started:
        process.kill()
        process.communicate()


def refused(process: "subprocess.Popen[str]") -> str:
    """The one line that it ends with."""
    printed, complaint = process.communicate(timeout=120)
    assert (process.returncode, printed) == (2, "")
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
    return complaint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_when_asked(serve: Serve, number: int) -> None:
    process = serve("--port", "0")
    assert process.stdout
    assert process.stdout.readline().startswith("ready at 127.0.0.1:")
    process.send_signal(number)
    printed, _ = process.communicate(timeout=120)
    assert (process.returncode, printed) == (0, "stopped\n")


def test_a_second_one_in_the_folder_is_refused(serve: Serve) -> None:
    first = serve("--port", "0")
    assert first.stdout
    first.stdout.readline()
    assert "another backend uses" in refused(serve("--port", "0"))


def test_a_taken_port_is_refused(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        complaint = refused(serve("--port", str(taken.getsockname()[1])))
    assert "is taken" in complaint


def test_others_are_let_in_only_when_somebody_is_paired(serve: Serve) -> None:
    assert "dreamtime pair NAME" in refused(serve("--host", "0.0.0.0", "--port", "0"))  # noqa: S104


def test_an_address_of_another_machine_is_refused(serve: Serve, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "backend", "pair", "ana", "--host", "192.0.2.1"],
        check=True,
        capture_output=True,
        env={**os.environ, VARIABLE: str(tmp_path)},
    )
    assert "not an address of this machine" in refused(serve("--host", "192.0.2.1", "--port", "0"))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[ray]'")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--ray", "workstation"), "give --ray HOST:PORT, or --ray local"),
        (("--ray", "workstation:6379", "--device", "cpu", "--device", "cuda"), "of one kind"),
        (("--ray", "local", "--device", "tpu"), "of one kind"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(serve: Serve, arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(serve("--port", "0", *arguments))


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "installed", lambda: False)
    with pytest.raises(UserError, match="Ray is not installed here"):
        module._kinds((), "local")


def test_a_folder_that_cannot_be_is_refused(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(serve("--home", str(tmp_path / "file"), "--port", "0"))
