"""How many seconds a task still takes: from the pace of its steps, and from what earlier ones took after theirs."""

from collections import deque
from collections.abc import Mapping

USUAL_SECONDS: dict[str, dict[str, float]] = {
    "draft": {"surface": 0.3, "cleaning": 0.1, "unwrapping": 0.4, "baking": 1.2, "writing": 4.9},
    "standard": {"surface": 2.0, "cleaning": 0.4, "unwrapping": 1.8, "baking": 2.1, "writing": 4.9},
    "high": {"surface": 2.0, "cleaning": 0.5, "unwrapping": 4.0, "baking": 5.0, "writing": 6.0},
}
"""Stages after the optimisation by preset, in their order, as measured on two cores without a GPU."""

_STEPS = 20  # that the pace is taken from


class Remaining:
    """The time that one task still takes.

    after: seconds per stage after the optimisation, in their order. per_step: seconds of a step before any was seen,
    or None.
    """

    def __init__(self, after: Mapping[str, float], steps: int, per_step: float | None = None) -> None:
        self._after = after
        self._steps = steps
        self._per_step = per_step
        self._seen: deque[tuple[int, float]] = deque(maxlen=_STEPS + 1)

    def at_stage(self, stage: str) -> float | None:
        """Seconds left when `stage` begins."""
        if stage in self._after:
            names = list(self._after)
            return sum(self._after[name] for name in names[names.index(stage) :])
        return self._with_steps(self._steps)

    def at_step(self, step: int, now: float) -> float | None:
        """Seconds left when `step` steps are done at `now`."""
        self._seen.append((step, now))
        (first, then), done = self._seen[0], self._seen[-1][0]
        if done > first:
            self._per_step = (now - then) / (done - first)
        return self._with_steps(self._steps - step)

    def _with_steps(self, steps: int) -> float | None:
        if self._per_step is None:
            return None
        return steps * self._per_step + sum(self._after.values())
