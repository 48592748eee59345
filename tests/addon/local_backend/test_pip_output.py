"""How far an installation is, from pip's own lines."""

from typing import Any

LINES = """
Looking in indexes: https://pypi.org/simple, https://download.pytorch.org/whl/cpu
Processing /addon/backend_wheel/dreamtime-0.1.0-py3-none-any.whl
Collecting torch==2.13.0+cpu
  Downloading https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl (60.0 MB)
Progress 0 of 60000000
Progress 30000000 of 60000000
Progress 60000000 of 60000000
Collecting click>=8.1 (from dreamtime==0.1.0)
  Downloading click-8.5.1-py3-none-any.whl.metadata (2.6 kB)
  Using cached click-8.5.1-py3-none-any.whl (20.0 MB)
  Downloading scipy-1.17.1-cp311-cp311-win_amd64.whl (20.0 MB)
Progress 20000000 of 20000000
Installing collected packages: torch, click
Successfully installed click-8.5.1 torch-2.13.0+cpu
""".strip().splitlines()


def test_it_goes_on_from_start_to_installed_and_names_the_package(m: Any) -> None:
    reader = m.pip_output.Reader(100_000_000)
    told = [reader.read(line) for line in LINES]
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    by_line = dict(zip(LINES, told, strict=True))
    half = by_line["Progress 30000000 of 60000000"]
    assert (half.phase, half.package) == ("Downloading", "torch")
    assert abs(half.fraction - (0.03 + 0.72 * 0.3)) < 1e-9
    assert by_line[LINES[9]].package == "click"
    assert abs(told[-3].fraction - 0.75) < 1e-9
    assert (told[-2].phase, told[-2].fraction) == ("Installing", 0.75)
    assert told[-1].fraction == 0.95


def test_more_than_was_expected_does_not_overflow(m: Any) -> None:
    reader = m.pip_output.Reader(1000)
    for line in LINES[:-2]:
        assert reader.read(line).fraction <= 0.75
