"""The programs beside this file, at length and in short; make faults runs them at greater length still."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENTLY = ("--within", "120")
"""How fast things are is for make faults to say, on a machine that does nothing else."""

on_a_cluster = (
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[ray]'"),
)


@pytest.mark.parametrize(
    "command",
    [
        ("malformed.py", "--inputs", "20000"),
        ("flood.py", "--messages", "1000", *PATIENTLY),
        ("nemesis.py", "--faults", "40", *PATIENTLY),
        pytest.param(("malformed.py", "--inputs", "1000000"), marks=pytest.mark.long),
        pytest.param(("flood.py", "--messages", "20000", *PATIENTLY), marks=pytest.mark.long),
        pytest.param(("strangers.py", "--tries", "1000"), marks=pytest.mark.long),
        pytest.param(("nemesis.py", "--faults", "300", *PATIENTLY), marks=pytest.mark.long),
        pytest.param(("cluster.py", "--kills", "4", "--server-kills", "1", *PATIENTLY), marks=on_a_cluster),
        pytest.param(("flock.py", "--jobs", "400"), marks=pytest.mark.long),
        pytest.param(("many_machines.py", "strangers"), marks=on_a_cluster),
        pytest.param(("many_machines.py", "two"), marks=on_a_cluster),
        pytest.param(("many_machines.py", "real"), marks=on_a_cluster),
    ],
    ids=" ".join,
)
def test_nothing_is_lost(command: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    program, *options = command
    done = subprocess.run([sys.executable, str(HERE / program), *options], check=False, capture_output=True, text=True)
    with capfd.disabled():
        print(f"\n{done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
