"""The programs beside this file in their short form; make faults runs the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("malformed.py", "--inputs", "1000000"),
        ("flood.py", "--messages", "20000"),
        ("strangers.py", "--tries", "1000"),
        ("nemesis.py", "--faults", "300"),
    ],
    ids=lambda command: command[0],
)
def test_nothing_is_lost(command: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    program, *options = command
    done = subprocess.run([sys.executable, str(HERE / program), *options], check=False, capture_output=True, text=True)
    with capfd.disabled():
        print(f"\n{done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
