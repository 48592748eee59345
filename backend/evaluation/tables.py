"""Figures and tables as Markdown has them."""

from collections.abc import Iterable, Sequence

from backend.evaluation.statistics import Interval


def brackets(interval: Interval | None, sign: str = "") -> str:
    """A mean, and the ends of its interval in brackets; sign "+" for differences. Nothing for None."""
    if interval is None:
        return ""
    return f"{interval.mean:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table with a line for each of `lines`."""
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))
