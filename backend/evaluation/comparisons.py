"""Rows compared with others: a table of the differences, and a plot of those in quality."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from backend.evaluation import plots, statistics
from backend.evaluation.claims import KINDS, LABELS, QUALITY
from backend.evaluation.rows import Row
from backend.evaluation.statistics import Interval
from backend.evaluation.tables import brackets, table

Pairs = Mapping[str, tuple[Sequence[Row], Sequence[Row]]]
"""Rows to be compared with others, by what the table calls them."""


def against(groups: Mapping[str, Sequence[Row]], base: str) -> Pairs:
    """Each group of rows to be compared with the one called `base`."""
    return {name: (rows, groups.get(base, ())) for name, rows in groups.items() if name != base}


def compared(pairs: Pairs, plot: Path, names: Sequence[str] = QUALITY) -> str:
    """The first rows minus the second ones, by name: a table, with how many pairs there are, and a plot of quality.

    names: of the measures in the table.
    """
    differences = {
        measure: {
            name: difference
            for name, (first, second) in pairs.items()
            if (difference := _difference(first, second, measure)) is not None
        }
        for measure in (*names, *KINDS)
    }
    found = {measure: by_name for measure, by_name in differences.items() if by_name}
    if not found:
        return "Too few runs."
    plots.differences({measure: by_name for measure, by_name in found.items() if measure in QUALITY}, plot)
    told: dict[str, str] = {**LABELS, **{kind: f"diversity: {what}" for kind, what in KINDS.items()}}
    lines = [
        (name, str(statistics.paired(*pairs[name])), *(brackets(by_name.get(name), "+") for by_name in found.values()))
        for name in pairs
        if any(name in by_name for by_name in found.values())
    ]
    return f"{table(('', 'pairs', *(told[name] for name in found)), lines)}\n\n![differences]({plot.name})"


def _difference(first: Sequence[Row], second: Sequence[Row], name: str) -> Interval | None:
    """Of a measure, or of a kind of diversity."""
    if name in KINDS:
        return statistics.difference(statistics.diversity(first, name), statistics.diversity(second, name))
    return statistics.difference(statistics.measured(first, name), statistics.measured(second, name))
