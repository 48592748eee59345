"""The statistics on data whose answer is known."""

import numpy as np
import pytest

from backend.evaluation import statistics
from backend.evaluation.measures import packed
from backend.evaluation.rows import Row
from backend.evaluation.runs import Run
from backend.evaluation.statistics import Interval


def values(of: dict[str, list[float]]) -> dict[tuple[str, int, int], float]:
    """For each prompt one value per seed, at 60 steps."""
    return {(prompt, seed, 60): value for prompt, found in of.items() for seed, value in enumerate(found)}


@pytest.mark.parametrize("count", [12, 20])
def test_an_interval_holds_the_truth_as_often_as_it_says(count: int) -> None:
    draws = np.random.default_rng(0)
    found = [statistics.interval(draws.normal(0.3, 1.0, count)) for _ in range(1000)]
    hits = sum(one is not None and one.low <= 0.3 <= one.high for one in found)
    assert 935 <= hits <= 965  # the plain percentile interval: 907 of 12, 926 of 20


def test_the_order_of_rows_does_not_matter() -> None:
    draws = np.random.default_rng(3)
    first = values({f"prompt {index}": list(draws.normal(0.1, 1, 3)) for index in range(12)})
    second = values({f"prompt {index}": list(draws.normal(0.0, 1, 3)) for index in range(12)})
    turned = dict(reversed(first.items()))
    assert statistics.difference(turned, second) == statistics.difference(first, second)


def test_the_width_is_that_of_the_normal_theory() -> None:
    sample = np.random.default_rng(1).normal(0, 2.0, 400)
    found = statistics.interval(sample)
    assert found is not None
    assert found.mean == pytest.approx(sample.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * sample.std() / 20, rel=0.05)
    assert found.count == 400


def test_one_value_says_nothing_and_equal_ones_have_no_width() -> None:
    assert statistics.interval([0.5]) is None
    assert statistics.interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3, 3)


def test_what_does_not_differ_proves_nothing() -> None:
    at_the_ceiling = statistics.interval([0.0] * 20)
    assert at_the_ceiling == Interval(0.0, 0.0, 0.0, 20, 0)
    assert statistics.better(at_the_ceiling) == statistics.as_good(at_the_ceiling) == "undecided"
    assert statistics.costless(at_the_ceiling, 0.05) == "undecided"
    few = statistics.interval([0.3, 0.3, 0.3, 0.3, 0.3, *[0.0] * 15])
    assert few is not None
    assert few.low > 0
    assert statistics.better(few) == "undecided"
    assert statistics.better(statistics.interval([0.3] * 6 + [0.0] * 14)) == "reproduced"


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 8, 20])
@pytest.mark.parametrize("differing", [0.2, 1.0])
def test_gains_are_seldom_made_up_of_few_values_or_of_many_ties(count: int, differing: float) -> None:
    """Thirds, as the R-precision of three seeds has them, up as often as down."""
    draws = np.random.default_rng(4)
    made_up = 0
    for _ in range(400):
        thirds = draws.choice([-2, -1, 1, 2], count) / 3 * (draws.uniform(size=count) < differing)
        made_up += statistics.better(statistics.interval(thirds)) == "reproduced"
    assert made_up / 400 <= 0.04  # 0.025 is meant: one side of 95 %


def test_seeds_of_one_prompt_do_not_count_as_more_prompts() -> None:
    few = statistics.mean(values({"a": [0.0], "b": [1.0], "c": [0.4]}))
    many = statistics.mean(values({"a": [0.0] * 50, "b": [1.0] * 50, "c": [0.4] * 50}))
    assert few == many
    assert few is not None
    assert few.count == 3


def test_pairs_take_out_what_prompts_differ_by() -> None:
    draws = np.random.default_rng(2)
    hard = {f"prompt {index}": draws.uniform() for index in range(20)}
    first = values({prompt: [level + 0.05 + draws.normal(0, 0.02) for _ in range(3)] for prompt, level in hard.items()})
    second = values({prompt: [level + draws.normal(0, 0.02) for _ in range(3)] for prompt, level in hard.items()})
    found = statistics.difference(first, second)
    assert found is not None
    assert 0.03 < found.low < 0.05 < found.high < 0.07
    assert statistics.better(found) == "reproduced"
    assert statistics.better(statistics.difference(second, first)) == "not reproduced"


def test_only_pairs_count() -> None:
    first, second = values({"a": [1.0, 9.0], "b": [2.0], "only here": [100.0]}), values({"a": [0.0], "b": [1.0]})
    assert statistics.difference(first, second) == Interval(1.0, 1.0, 1.0, 2, 2)


def test_a_ratio_is_a_share_of_the_second() -> None:
    found = statistics.ratio(values({"a": [1.1], "b": [2.2]}), values({"a": [1.0], "b": [2.0]}))
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))


def asked(draws: np.random.Generator, people: int, prompts: int) -> np.ndarray:
    """What people say where the truth is 0.3: each has a leaning, so has each prompt, and a third is not answered."""
    leanings = draws.normal(0, 0.3, (people, 1)) + draws.normal(0, 0.3, prompts)
    values = 0.3 + leanings + draws.normal(0, 0.5, (people, prompts))
    return np.where(draws.uniform(size=values.shape) < 1 / 3, np.nan, values)


@pytest.mark.parametrize(("people", "prompts"), [(6, 12), (12, 24), (20, 6)])
def test_an_interval_over_people_and_prompts_holds_the_truth_at_least_as_often_as_it_says(
    people: int, prompts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_RESAMPLES", 400)
    draws = np.random.default_rng(5)
    found = [statistics.crossed(asked(draws, people, prompts)) for _ in range(200)]
    assert sum(one is not None and one.low <= 0.3 <= one.high for one in found) >= 190


def test_one_person_who_answers_often_is_one_person() -> None:
    """Taken for as many as there are answers, they would be certain."""
    values = np.array([[1.0] * 40, [-0.2] * 40, [0.1] * 40])
    found = statistics.crossed(values)
    assert found is not None
    assert (found.low, found.high) == (-0.2, 1.0)
    assert (found.mean, found.count, found.differing) == (pytest.approx(0.3), 3, 3)
    assert statistics.crossed(values.T) == found
    assert statistics.crossed(values[:1]) is None
    assert statistics.crossed(values[:, :1]) is None


def test_answers_that_are_all_the_same_or_far_apart_have_an_interval() -> None:
    assert statistics.crossed(np.ones((3, 4))) == Interval(1.0, 1.0, 1.0, 3, 3)
    assert statistics.crossed(np.zeros((3, 4))) == Interval(0.0, 0.0, 0.0, 3, 0)
    apart = np.array([[1.0, np.nan], [np.nan, 0.0]])  # there are draws of which nothing was asked
    assert statistics.crossed(apart) == Interval(0.5, 0.0, 1.0, 2, 1)


@pytest.mark.parametrize(
    ("low", "high", "better", "as_good"),
    [
        (0.001, 0.3, "reproduced", "reproduced"),
        (0.0, 0.3, "undecided", "reproduced"),
        (0.001, 0.019, "not reproduced", "reproduced"),
        (-0.01, 0.019, "not reproduced", "reproduced"),
        (-0.03, 0.01, "not reproduced", "undecided"),
        (-0.03, 0.03, "undecided", "undecided"),
        (-0.3, -0.001, "not reproduced", "not reproduced"),
    ],
)
def test_verdicts(low: float, high: float, better: str, as_good: str) -> None:
    found = Interval((low + high) / 2, low, high, 20, 20)
    assert statistics.better(found) == better
    assert statistics.as_good(found) == as_good


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.1, 0.04, "reproduced"),
        (0.01, 0.04, "reproduced"),
        (0.0, 0.06, "undecided"),
        (0.06, 0.2, "not reproduced"),
    ],
)
def test_what_costs_less_than_matters_is_free(low: float, high: float, verdict: str) -> None:
    assert statistics.costless(Interval((low + high) / 2, low, high, 20, 20), 0.05) == verdict


def test_without_pairs_all_is_undecided() -> None:
    assert statistics.better(None) == statistics.as_good(None) == statistics.costless(None, 0.05) == "undecided"


def row(seed: int, features: tuple[float, ...], cells: int, right: float = 1.0) -> Row:
    solid = np.zeros((24, 24, 24), bool)
    solid[:cells] = True
    run = Run("3d", "default", "uniform", 60, "a red mug", seed)
    return Row(run, {"r_precision": right}, 1.0, features, packed(solid))


def test_diversity_is_the_mean_distance_of_pairs_among_correct_results() -> None:
    rows = [row(0, (1.0, 0.0), 4), row(1, (0.0, 2.0), 8), row(2, (-1.0, 0.0), 8, right=0.0)]
    assert statistics.diversity(rows, "features") == {("a red mug", 0, 60): pytest.approx(1.0)}
    assert statistics.diversity(rows, "cells") == {("a red mug", 0, 60): pytest.approx(0.5)}
    assert statistics.diversity(rows[:1], "cells") == {}


def test_equal_results_have_no_diversity() -> None:
    rows = [row(seed, (0.6, 0.8), 5) for seed in range(3)]
    assert statistics.diversity(rows, "features") == {("a red mug", 0, 60): pytest.approx(0.0)}
    assert statistics.diversity(rows, "cells") == {("a red mug", 0, 60): 0.0}


def test_half_the_budget_is_paired_with_the_whole() -> None:
    half = statistics.at_half({("a", 0, 30): 0.7, ("a", 0, 60): 0.9})
    assert half == {("a", 0, 60): 0.7, ("a", 0, 120): 0.9}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.3, "better"),
        (-0.3, -0.001, "worse"),
        (-0.01, 0.01, "no difference that matters"),
        (0.001, 0.01, "no difference that matters"),
        (-0.1, 0.1, "undecided"),
    ],
)
def test_what_a_change_does(low: float, high: float, verdict: str) -> None:
    assert statistics.change(Interval((low + high) / 2, low, high, 20, 20)) == verdict
    assert statistics.change(Interval((low + high) / 2, low, high, 20, 5)) == "undecided"
    assert statistics.change(None) == "undecided"
