"""What is printed, on terminals and into files of every kind: the program as a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.home import VARIABLE
from backend.service.keys import KeyRing

ROOT = Path(__file__).parent.parent
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A terminal that Python takes to know no letters but ASCII's."""

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command with none of this machine's variables but those given; nobody but "日本" is paired."""
    KeyRing(tmp_path / "keys").pair("日本")
    own = {VARIABLE: str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(
        *arguments: str | bytes, stdout: Any = subprocess.PIPE, how: str = '"$@"', **variables: str
    ) -> "subprocess.CompletedProcess[bytes]":
        command = ["sh", "-c", how, "sh", sys.executable, "-m", "backend", *arguments]
        return subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, env={**own, **variables}, cwd=tmp_path, check=False
        )

    return run


def test_names_that_a_terminal_cannot_show_are_printed_with_replacements(run: Run) -> None:
    done = run("clients", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(b"??  ")


def test_where_the_locale_knows_no_letters_names_are_printed_too(run: Run) -> None:
    done = run("clients", **ASCII)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("command", [("clients",), ("--help",), ("serve", "--help")])
def test_a_full_disk_behind_the_output_is_one_line(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, how='"$@" > /dev/full')
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: cannot write what should be printed (No space left on device)")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_who_has_seen_enough_ends_it_quietly(run: Run) -> None:
    done = run("clients", how='"$@" | true')
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble(run: Run, closed: str) -> None:
    done = run("clients", how=f'"$@" {closed}')
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_complaint_to_closed_streams_keeps_its_code(run: Run) -> None:
    assert run("generate", "", how='"$@" >&- 2>&-').returncode == 2


def test_a_name_in_letters_that_the_locale_cannot_read_is_revoked_but_not_paired(run: Run) -> None:
    name = "日本".encode()
    assert run("revoke", name, **ASCII).returncode == 0
    assert run("clients").stdout.startswith(b"nobody is paired")
    done = run("pair", name, **ASCII)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: '\\udce6")
    assert b"is no name; take up to 60 letters" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            "generate",
            marks=pytest.mark.skipif(
                not str(Path(__file__)).isascii(),
                reason="in such a locale torch itself cannot be loaded from a folder with letters beyond ASCII",
            ),
        ),
        "submit",
    ],
)
def test_a_prompt_in_letters_that_the_locale_cannot_read_is_told_which_locale_can(
    run: Run, command: str, tmp_path: Path
) -> None:
    KeyRing(tmp_path / "keys").local("127.0.0.1", 9)
    done = run(command, "日本".encode(), **ASCII)
    assert done.returncode == 2
    assert b"under " in done.stderr
    assert b"LC_ALL=C.UTF-8" in done.stderr
    assert b"same version" not in done.stderr
    assert done.stderr.count(b"\n") == 1
