import pytest

from backend.pipeline.generate import PARTS
from backend.pipeline.presets import PRESETS
from backend.service.remaining import USUAL_SECONDS, Remaining

AFTER = {"surface": 2.0, "baking": 3.0, "writing": 5.0}


def test_there_is_a_time_for_every_stage_of_every_preset() -> None:
    assert set(USUAL_SECONDS) == set(PRESETS)
    for stages in USUAL_SECONDS.values():
        assert ("loading", "optimising", *stages) == PARTS


def test_without_a_pace_nothing_is_said() -> None:
    remaining = Remaining(AFTER, steps=100)
    assert remaining.at_stage("loading") is None
    assert remaining.at_step(41, now=1000.0) is None  # gone on with: the first step says nothing
    assert remaining.at_step(42, now=1000.5) == pytest.approx(58 * 0.5 + 10)


def test_a_known_pace_counts_until_there_is_a_newer_one() -> None:
    remaining = Remaining(AFTER, steps=100, per_step=0.1)
    assert remaining.at_stage("optimising") == pytest.approx(20)
    assert remaining.at_step(1, now=0.0) == pytest.approx(19.9)
    assert remaining.at_step(2, now=1.0) == pytest.approx(98 + 10)


def test_the_pace_is_that_of_the_last_steps() -> None:
    remaining = Remaining(AFTER, steps=100)
    for step in range(1, 31):
        remaining.at_step(step, now=float(step))
    for step in range(31, 61):
        left = remaining.at_step(step, now=30 + 0.1 * (step - 30))
    assert left == pytest.approx(40 * 0.1 + 10)


def test_after_the_steps_the_stages_to_come_are_left() -> None:
    remaining = Remaining(AFTER, steps=100)
    assert [remaining.at_stage(stage) for stage in AFTER] == [10, 8, 5]
