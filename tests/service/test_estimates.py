import pytest

from backend.pipeline.presets import PRESETS
from backend.service.estimates import LATEST, Estimates


def test_the_median_of_the_latest_jobs_of_the_same_kind_counts() -> None:
    long_ago = [("builtin", "draft", 1000.0)] * LATEST
    lately = [("builtin", "draft", float(seconds)) for seconds in range(LATEST)]
    others = [("builtin", "high", 500.0), ("owner/name", "draft", 700.0)] * LATEST
    estimates = Estimates([*long_ago, *lately, *others], step=9.0)
    assert estimates.seconds("builtin", "draft") == (LATEST - 1) / 2
    assert estimates.seconds("owner/name", "draft") == 700.0


def test_without_jobs_the_steps_of_the_built_in_model_are_counted() -> None:
    estimates = Estimates([], step=0.1)
    seconds = [estimates.seconds("builtin", name) for name in PRESETS]
    assert seconds == sorted(seconds)
    assert seconds[0] is not None
    assert 6 < seconds[0] < 21  # draft: 60 steps and the rest
    slower = Estimates([], step=0.2).seconds("builtin", "draft")
    assert slower == pytest.approx(seconds[0] + 60 * 0.1)  # as long for the rest


def test_what_nobody_knows_is_not_made_up() -> None:
    assert Estimates([], step=None).seconds("builtin", "draft") is None
    assert Estimates([("builtin", "draft", 9.0)], step=0.1).seconds("owner/name", "draft") is None
