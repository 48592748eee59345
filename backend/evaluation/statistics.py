"""What differences are worth: paired by prompt, seed and budget, with bootstrap intervals over prompts.

Seeds of one prompt are alike, so prompts, not runs, are what is drawn again: an interval says what other
prompts of this kind would give.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap, norm, t

from backend.evaluation.measures import unpacked
from backend.evaluation.rows import Row

CONFIDENCE = 0.95
RELEVANT = 0.02
"""Smaller differences of a measure from 0 to 1 do not matter: nobody would see them."""
FEWEST = 6
"""Prompts that must differ at all before a verdict is given: of fewer, even a sign test of all alike stays above 5 %.

So a measure at its ceiling proves nothing, and neither does an interval of two or three values.
"""

_RESAMPLES, _BATCH = 10_000, 500
_DIGITS = 9  # of an interval's ends: sums of ninths that should be 0 are not quite

Verdict = Literal["reproduced", "not reproduced", "undecided"]
Change = Literal["better", "worse", "no difference that matters", "undecided"]

Kind = Literal["features", "cells"]

Key = tuple[str, int, int]
"""Prompt, seed and budget: what two values must share to be a pair."""

Values = Mapping[Key, float]


@dataclass(frozen=True)
class Interval:
    """A mean over `count` prompts and the ends of its confidence interval. differing: those whose value is not 0."""

    mean: float
    low: float
    high: float
    count: int
    differing: int

    @property
    def enough(self) -> bool:
        """Whether a difference can carry a verdict; see FEWEST."""
        return self.differing >= FEWEST


def interval(values: Iterable[float]) -> Interval | None:
    """The mean of one value for each prompt, by bootstrap; None for fewer than two, which say nothing.

    The percentiles are further out than CONFIDENCE, as the plain ones of a dozen values are too narrow: by as much
    as Student's interval is wider than the normal one (Hesterberg 2015, expanded percentile interval).
    """
    sample = np.fromiter(values, float)
    if len(sample) < 2:
        return None
    differing = int((sample.round(_DIGITS) != 0).sum())
    if np.ptp(sample) == 0:  # no resample differs
        return Interval(float(sample[0]), float(sample[0]), float(sample[0]), len(sample), differing)
    found = bootstrap(
        (sample,), np.mean, n_resamples=_RESAMPLES, confidence_level=_expanded(len(sample)), method="percentile", rng=0
    ).confidence_interval
    low, high = (round(float(end), _DIGITS) for end in (found.low, found.high))
    return Interval(float(sample.mean()), low, high, len(sample), differing)


def _expanded(count: int) -> float:
    """The level at which percentile intervals of means of `count` values hold the truth with CONFIDENCE."""
    student = t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return float(1 - 2 * norm.cdf(-math.sqrt(count / (count - 1)) * student))


def by_prompt(values: Values) -> dict[str, float]:
    """The mean over the seeds and budgets of each prompt, in the order of prompts: the same draws every time."""
    gathered = defaultdict(list)
    for (prompt, _, _), value in values.items():
        gathered[prompt].append(value)
    return {prompt: float(np.mean(gathered[prompt])) for prompt in sorted(gathered)}


def mean(values: Values) -> Interval | None:
    """The mean over prompts."""
    return interval(by_prompt(values).values())


def difference(first: Values, second: Values) -> Interval | None:
    """`first` - `second` over the pairs that both hold."""
    return mean({key: first[key] - second[key] for key in first if key in second})


def ratio(first: Values, second: Values) -> Interval | None:
    """`first` / `second` - 1 over the pairs that both hold, in the geometric mean: 0.05 is five per cent more.

    The arithmetic mean of ratios of two equally noisy values is above 1.
    """
    found = mean({key: math.log(first[key] / second[key]) for key in first if key in second})
    if found is None:
        return None
    return replace(found, mean=math.expm1(found.mean), low=math.expm1(found.low), high=math.expm1(found.high))


def crossed(values: Float[np.ndarray, "people prompts"]) -> Interval | None:
    """The mean of what people said of prompts, NaN where nothing, as if others had been asked about others.

    People and prompts are drawn again, independently of each other, since answers of one person are alike and so are
    those about one prompt (Owen 2007, pigeonhole bootstrap, which is rather too wide than too narrow). What is counted
    is people or prompts, whichever are fewer; differing are those with any value but 0. None for fewer than two.
    """
    count = min(values.shape)
    if count < 2:
        return None
    given = np.ma.masked_invalid(values)
    whole = float(given.mean())

    def mean_of(people: np.ndarray, prompts: np.ndarray, axis: int) -> np.ndarray:
        drawn = given[people[..., :, None], prompts[..., None, :]]
        return drawn.mean((-2, -1)).filled(whole)  # of people who were not asked about any of these prompts

    found = bootstrap(
        tuple(np.arange(size) for size in values.shape),
        mean_of,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=_expanded(count),
        method="percentile",
        rng=0,
    ).confidence_interval
    low, high = (round(float(end), _DIGITS) for end in (found.low, found.high))
    differing = min(int((given != 0).filled(False).any(axis).sum()) for axis in (0, 1))
    return Interval(whole, low, high, count, differing)


def better(found: Interval | None, relevant: float = RELEVANT) -> Verdict:
    """Whether a difference shows a gain: the whole interval above 0; or none that matters: all below `relevant`.

    A gain that is certain, but does not matter, is none.
    """
    if found is None or not found.enough:
        return "undecided"
    if found.high < relevant:
        return "not reproduced"
    return "reproduced" if found.low > 0 else "undecided"


def as_good(found: Interval | None, relevant: float = RELEVANT) -> Verdict:
    """Whether a difference shows no loss that matters: all above -`relevant`; or shows one: all below 0."""
    if found is None or not found.enough:
        return "undecided"
    if found.low > -relevant:
        return "reproduced"
    return "not reproduced" if found.high < 0 else "undecided"


def change(found: Interval | None, relevant: float = RELEVANT) -> Change:
    """What a difference shows: a gain, the whole interval above 0; a loss, all below; or none that would matter."""
    if found is None or not found.enough:
        return "undecided"
    if -relevant < found.low and found.high < relevant:
        return "no difference that matters"
    return "better" if found.low > 0 else "worse" if found.high < 0 else "undecided"


def costless(found: Interval | None, relevant: float) -> Verdict:
    """Whether relative extra cost is shown to be less than `relevant`, or more."""
    if found is None or not found.enough:
        return "undecided"
    if found.high < relevant:
        return "reproduced"
    return "not reproduced" if found.low > relevant else "undecided"


def measured(rows: Iterable[Row], measure: str) -> dict[Key, float]:
    """One measure of each row that has it. "seconds" is one, too, of runs that did not end early."""
    found = {}
    for row in rows:
        if measure == "seconds" and not row.failure:
            found[_key(row)] = row.seconds
        elif measure in row.measures:
            found[_key(row)] = row.measures[measure]
    return found


def paired(first: Iterable[Row], second: Iterable[Row]) -> int:
    """How many runs of `first` have one of the same prompt, seed and budget in `second`."""
    return len({_key(row) for row in first} & {_key(row) for row in second})


def _key(row: Row) -> Key:
    return row.run.prompt, row.run.seed, row.run.steps


def diversity(rows: Iterable[Row], kind: Kind) -> dict[Key, float]:
    """How much the seeds of a prompt and budget differ, pair by pair, among correct results only; seed 0 in the key.

    features: 1 - cosine of how the judge sees them. cells: 1 - intersection over union of their shapes.
    """
    groups = defaultdict(list)
    for row in rows:
        if row.measures.get("r_precision") == 1 and (kind == "features" or row.cells):
            groups[row.run.prompt, 0, row.run.steps].append(row)
    apart = _features_apart if kind == "features" else _cells_apart
    return {
        key: float(np.mean([apart(one, other) for one, other in combinations(group, 2)]))
        for key, group in groups.items()
        if len(group) > 1
    }


def _features_apart(one: Row, other: Row) -> float:
    first, second = np.array(one.features), np.array(other.features)
    return float(1 - first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def _cells_apart(one: Row, other: Row) -> float:
    first, second = unpacked(one.cells), unpacked(other.cells)
    return float(1 - (first & second).sum() / max((first | second).sum(), 1))


def at_half(values: Values) -> dict[Key, float]:
    """The values of budgets N / 2 under the keys of N: to be paired with runs of twice the length."""
    return {(prompt, seed, 2 * steps): value for (prompt, seed, steps), value in values.items()}
