"""The paper's claims (DreamTime, arXiv 2306.12422), each put to the rows and answered in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.engine.names import ScheduleName
from backend.evaluation import statistics
from backend.evaluation.gradients import TIMESTEPS, Gradients
from backend.evaluation.rows import Row
from backend.evaluation.statistics import Interval, Kind, Values, Verdict

LABELS = {
    "r_precision": "R-precision",
    "object": "the right object",
    "view_precision": "R-precision of single views",
    "confidence": "the judge's confidence",
    "grey": "the right object from grey renders",
    "f_score": "F-score",
    "janus": "a front on both sides",
    "clip": "R-precision by CLIP",
}
"""The measures from 0 to 1, in the order of the tables; see `measures`. Fewer of "janus" are better."""

QUALITY = ("r_precision", "confidence", "f_score", "grey")
"""What a claim of quality is put to. A suite without one of them, like images without shape, goes without."""

KINDS: dict[Kind, str] = {"features": "how the judge sees them", "cells": "their shapes"}
"""What results are told apart by; see `statistics.diversity`."""

COST = 0.05
"""A schedule that takes less than this share longer costs nothing worth the name."""


@dataclass(frozen=True)
class Finding:
    """A claim, what it was put to, and what came out. difference: what the verdict rests on."""

    claim: str
    measure: str
    difference: Interval | None
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """One plain sentence."""
        found = self.difference
        if found is None:
            return f"{self.claim}, by {self.measure}: undecided, there are too few runs."
        return (
            f"{self.claim}, by {self.measure}: {self.verdict} "
            f"({found.mean:+.3f}; {found.low:+.3f} to {found.high:+.3f}, {found.count} prompts)."
        )


def of_schedule(rows: Sequence[Row], schedule: ScheduleName) -> list[Row]:
    """The rows of one schedule with everything else at its default."""
    return [row for row in rows if row.run.schedule == schedule]


def findings(rows: Sequence[Row]) -> list[Finding]:
    """What the rows of "2d" or "3d" say to the claims about schedules."""
    prior, uniform, linear = (of_schedule(rows, name) for name in ("time_prior", "uniform", "linear"))
    return [
        *_quality("At equal budget time_prior is better than uniform", prior, uniform),
        *_quality("At equal budget time_prior is better than linear, which does not increase either", prior, linear),
        *_convergence(prior, uniform),
        *_diversity(prior, uniform),
        _cost(prior, uniform),
    ]


def _quality(claim: str, first: Sequence[Row], second: Sequence[Row]) -> list[Finding]:
    found = {name: (statistics.measured(first, name), statistics.measured(second, name)) for name in QUALITY}
    return [_better(claim, LABELS[name], *values) for name, values in found.items() if values[0]]


def _better(claim: str, measure: str, first: Values, second: Values) -> Finding:
    difference = statistics.difference(first, second)
    return Finding(claim, measure, difference, statistics.better(difference))


def _convergence(prior: Sequence[Row], uniform: Sequence[Row]) -> list[Finding]:
    claim, made = "time_prior is as good in half the steps as uniform", []
    for name in QUALITY:
        half = statistics.at_half(statistics.measured(prior, name))
        if half:
            difference = statistics.difference(half, statistics.measured(uniform, name))
            made.append(Finding(claim, LABELS[name], difference, statistics.as_good(difference)))
    return made


def _diversity(prior: Sequence[Row], uniform: Sequence[Row]) -> list[Finding]:
    """Over all budgets, and at the largest alone: results that are not finished differ by what they lack."""
    claim = "Correct results of time_prior differ more from seed to seed than those of uniform"
    largest = max((row.run.steps for row in prior), default=0)
    made = []
    for kind, told in KINDS.items():
        first, second = (statistics.diversity(rows, kind) for rows in (prior, uniform))
        at_the_end = [{key: value for key, value in found.items() if key[2] == largest} for found in (first, second)]
        if first:
            made += [_better(claim, told, first, second), _better(f"{claim} after {largest} steps", told, *at_the_end)]
    return made


def _cost(prior: Sequence[Row], uniform: Sequence[Row]) -> Finding:
    found = statistics.ratio(*(statistics.measured(rows, "seconds") for rows in (prior, uniform)))
    verdict: Verdict = "undecided"
    if found is not None and found.high < COST:
        verdict = "reproduced"
    elif found is not None and found.low > 0:
        verdict = "not reproduced"
    return Finding("time_prior takes no longer than uniform", "seconds, relative", found, verdict)


def frequency(found: Sequence[Gradients]) -> Finding:
    """Whether the gradient is finer at the smallest timestep than at the largest."""
    difference = statistics.interval(one.centroid[-1] - one.centroid[0] for one in found)
    return Finding(
        f"The gradient is finer at t = {TIMESTEPS[-1]} than at t = {TIMESTEPS[0]}",
        "mean spatial frequency in cycles per pixel",
        difference,
        statistics.better(difference),
    )
