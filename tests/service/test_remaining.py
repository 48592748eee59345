import pytest

from backend.pipeline.generate import PARTS
from backend.pipeline.painting import Colouring, Opening
from backend.pipeline.presets import PRESETS
from backend.service.remaining import USUAL_SECONDS, Remaining

AFTER = {"surface": 2.0, "baking": 3.0, "writing": 5.0}
PAINTING = ("loading", "unwrapping", "painting", "colouring", "writing")


def shaping(**pace: float) -> Remaining:
    return Remaining(("loading", "optimising", *AFTER), {"optimising": 100}, AFTER, pace)


def test_there_is_a_time_for_every_part_without_steps_of_every_preset() -> None:
    assert set(USUAL_SECONDS) == set(PRESETS)
    announced = {*PARTS, *Opening.parts, *Colouring.parts}
    for seconds in USUAL_SECONDS.values():
        assert {"loading", "optimising", "painting", *seconds} == announced


def test_without_a_pace_nothing_is_said() -> None:
    remaining = shaping()
    assert remaining.at_part("loading") is None
    assert remaining.at_step("optimising", 41, now=1000.0) is None  # gone on with: the first step says nothing
    assert remaining.at_step("optimising", 42, now=1000.5) == pytest.approx(58 * 0.5 + 10)


def test_a_known_pace_counts_until_there_is_a_newer_one() -> None:
    remaining = shaping(optimising=0.1)
    assert remaining.at_part("optimising") == pytest.approx(20)
    assert remaining.at_step("optimising", 1, now=0.0) == pytest.approx(19.9)
    assert remaining.at_step("optimising", 2, now=1.0) == pytest.approx(98 + 10)
    assert remaining.pace == {"optimising": 1.0}


def test_the_pace_is_that_of_the_last_steps() -> None:
    remaining = shaping()
    for step in range(1, 31):
        remaining.at_step("optimising", step, now=float(step))
    for step in range(31, 61):
        left = remaining.at_step("optimising", step, now=30 + 0.1 * (step - 30))
    assert left == pytest.approx(40 * 0.1 + 10)


def test_after_the_steps_the_parts_to_come_are_left() -> None:
    remaining = shaping()
    assert [remaining.at_part(part) for part in AFTER] == [10, 8, 5]


def test_a_part_before_the_steps_does_not_hide_them() -> None:
    remaining = Remaining(PAINTING, {"painting": 100}, {"unwrapping": 1.0, "colouring": 2.0, "writing": 5.0}, {})
    assert [remaining.at_part(part) for part in PAINTING] == [None, None, None, 7, 5]
    assert remaining.at_step("painting", 1, now=0.0) is None
    assert remaining.at_step("painting", 2, now=0.5) == pytest.approx(98 * 0.5 + 7)
    known = Remaining(PAINTING, {"painting": 100}, {"unwrapping": 1.0}, {"painting": 0.5})
    assert known.at_part("unwrapping") == pytest.approx(51)


def test_while_the_shape_is_made_its_colours_are_counted_and_each_has_a_pace_of_its_own() -> None:
    parts, steps = ("optimising", "surface", "painting"), {"optimising": 10, "painting": 20}
    remaining = Remaining(parts, steps, {"surface": 3.0}, {})
    remaining.at_step("optimising", 1, now=0.0)
    assert remaining.at_step("optimising", 2, now=1.0) == pytest.approx(8 + 3 + 20)
    assert remaining.at_part("painting") == pytest.approx(20)
    assert remaining.at_step("painting", 1, now=100.0) == pytest.approx(19), "the time between is nobody's pace"
    assert remaining.at_step("painting", 2, now=104.0) == pytest.approx(18 * 4)
