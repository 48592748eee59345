import pytest

from shared.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (12.4, "12 s"),
        (89, "89 s"),
        (95, "2 min"),
        (3540, "59 min"),
        (3590, "1 h 00 min"),
        (4800, "1 h 20 min"),
        (34190, "9 h 30 min"),
        (83040, "23 h"),
        (170000, "47 h"),
        (2349480, "27 days"),
    ],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
