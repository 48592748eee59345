"""The paper's claims (DreamTime, arXiv 2306.12422), each put to the rows and answered in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.engine.names import ScheduleName
from backend.evaluation import statistics
from backend.evaluation.gradients import TIMESTEPS, Gradients
from backend.evaluation.rows import Row
from backend.evaluation.statistics import Interval, Kind, Verdict

LABELS = {
    "r_precision": "R-precision",
    "few": "right among the first five",
    "view_precision": "R-precision of single views",
    "confidence": "the judge's confidence",
    "grey": "the right object from grey renders",
    "f_score": "F-score",
    "f_score_loose": "F-score within 0.1 m",
    "facing": "facing right",
    "janus": "a front on both sides (less is better)",
    "colour": "CIEDE2000 from the colour asked for (less is better)",
    "sharpness": "detail finer than 8 pixels, doublings of that of true objects (best at 0)",
    "clip": "R-precision by CLIP",
}
"""The measures, in the order of the tables; see `measures`. All are from 0 to 1 but "colour" and "sharpness", which are
best at 0, and of all others but "janus" more is better.
"""

QUALITY = ("r_precision", "confidence", "f_score", "grey", "clip")
"""What a claim of quality is put to. A suite without one of them, like images without shape, goes without."""

KINDS: dict[Kind, str] = {"features": "how the judge sees them", "cells": "their shapes"}
"""What results are told apart by; see `statistics.diversity`."""

COST = 0.05
"""A schedule that takes less than this share longer costs nothing worth the name."""

DIVERSE = 0.1
"""A diversity that is larger by less than this share does not matter. Diversities have no scale of their own."""


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
            return f"{self.claim}, by {self.measure}: undecided, there are too few pairs of runs."
        why = "" if found.enough else f", of which {found.differing or 'none'} differ"
        return (
            f"{self.claim}, by {self.measure}: {self.verdict} "
            f"({found.mean:+.3f}; {found.low:+.3f} to {found.high:+.3f}, {found.count} prompts{why})."
        )


def of_schedule(rows: Sequence[Row], schedule: ScheduleName) -> list[Row]:
    """The rows of one schedule."""
    return [row for row in rows if row.run.schedule == schedule]


def findings(rows: Sequence[Row]) -> list[Finding]:
    """What the rows of "2d" or "3d" say to the claims about schedules.

    Gains over all budgets may come from the small ones alone, and what half the steps lose from either schedule's
    having converged: hence the largest budget by itself, and uniform in half the steps for comparison.
    """
    prior, uniform, linear = (of_schedule(rows, name) for name in ("time_prior", "uniform", "linear"))
    largest = max((row.run.steps for row in rows), default=0)
    ended = [[row for row in group if row.run.steps == largest] for group in (prior, uniform)]
    return [
        *_quality("At equal budget time_prior is better than uniform", prior, uniform),
        *_quality(f"After {largest} steps time_prior is better than uniform", *ended),
        *_quality("At equal budget time_prior is better than linear, which does not increase either", prior, linear),
        *_convergence("time_prior", prior, uniform),
        *_convergence("For comparison, uniform", uniform, uniform),
        *_diversity(
            "Correct results of time_prior differ more from seed to seed than those of uniform", prior, uniform
        ),
        *_diversity(f"After {largest} steps correct results of time_prior differ more from seed to seed", *ended),
        _cost(prior, uniform),
    ]


def findings_of_rules(rows: Sequence[Row]) -> list[Finding]:
    """What the rows of "rules" say to the claim that the schedule helps VSD, too."""
    of_vsd = [row for row in rows if row.run.variant == "vsd"]
    prior, uniform = (of_schedule(of_vsd, name) for name in ("time_prior", "uniform"))
    return _quality("VSD by time_prior (TP-VSD) is better than by uniform timesteps", prior, uniform)


def _quality(claim: str, first: Sequence[Row], second: Sequence[Row]) -> list[Finding]:
    """Whether the first rows are better than the second, in each measure of QUALITY that they have."""
    made = []
    for name in QUALITY:
        values = statistics.measured(first, name)
        if values:
            difference = statistics.difference(values, statistics.measured(second, name))
            made.append(Finding(claim, LABELS[name], difference, statistics.better(difference)))
    return made


def _convergence(who: str, half: Sequence[Row], whole: Sequence[Row]) -> list[Finding]:
    claim, made = f"{who} in half the steps is as good as uniform", []
    for name in QUALITY:
        values = statistics.at_half(statistics.measured(half, name))
        if values:
            difference = statistics.difference(values, statistics.measured(whole, name))
            made.append(Finding(claim, LABELS[name], difference, statistics.as_good(difference)))
    return made


def _diversity(claim: str, first: Sequence[Row], second: Sequence[Row]) -> list[Finding]:
    made = []
    for kind, told in KINDS.items():
        values, others = (statistics.diversity(rows, kind) for rows in (first, second))
        if values:
            difference, usual = statistics.difference(values, others), statistics.mean(others)
            verdict = statistics.better(difference, DIVERSE * usual.mean) if usual else "undecided"
            made.append(Finding(claim, told, difference, verdict))
    return made


def _cost(prior: Sequence[Row], uniform: Sequence[Row]) -> Finding:
    found = statistics.ratio(*(statistics.measured(rows, "seconds") for rows in (prior, uniform)))
    claim = f"time_prior takes less than {COST:.0%} longer than uniform"
    return Finding(claim, "seconds, relative", found, statistics.costless(found, COST))


def frequency(found: Sequence[Gradients]) -> Finding:
    """Whether the gradient is finer at the smallest timestep than at the largest."""
    difference = statistics.interval(one.centroid[-1] - one.centroid[0] for one in found)
    return Finding(
        f"The gradient is finer at t = {TIMESTEPS[-1]} than at t = {TIMESTEPS[0]}",
        "mean spatial frequency in cycles per pixel",
        difference,
        statistics.better(difference),
    )
