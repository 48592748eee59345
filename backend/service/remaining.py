"""How many seconds a task still takes: from the pace of its steps, and from what earlier ones took besides them."""

from collections import deque
from collections.abc import Mapping, Sequence

USUAL_SECONDS: dict[str, dict[str, float]] = {
    "draft": {"surface": 0.3, "cleaning": 0.1, "unwrapping": 0.4, "baking": 1.2, "colouring": 0.4, "writing": 4.9},
    "standard": {"surface": 2.0, "cleaning": 0.4, "unwrapping": 1.8, "baking": 2.1, "colouring": 1.4, "writing": 4.9},
    "high": {"surface": 2.0, "cleaning": 0.5, "unwrapping": 4.0, "baking": 5.0, "colouring": 5.0, "writing": 6.0},
}
"""Parts of a job without steps by preset, as measured on two cores without a GPU; loading a model takes part in none.

Of colouring, a draft's was; it grows with the texture.
"""

_STEPS = 20  # that the pace is taken from


class Remaining:
    """The time that one task still takes.

    parts: all that will be announced, in this order. steps: of those that have some. seconds: what others take; those
    that are not named take none. pace: seconds of a step, of the parts where it is known, as seen last; the others are
    taken to be as fast as the first that is.
    """

    def __init__(
        self,
        parts: Sequence[str],
        steps: Mapping[str, int],
        seconds: Mapping[str, float],
        pace: Mapping[str, float],
    ) -> None:
        self._parts, self._steps, self._seconds = parts, steps, seconds
        self.pace = dict(pace)
        self._seen: deque[tuple[int, float]] = deque(maxlen=_STEPS + 1)

    def at_part(self, part: str) -> float | None:
        """Seconds left when `part` begins."""
        self._seen.clear()
        return self._from(self._parts.index(part))

    def at_step(self, part: str, step: int, now: float) -> float | None:
        """Seconds left when `step` steps of `part` are done at `now`."""
        self._seen.append((step, now))
        (first, then), done = self._seen[0], self._seen[-1][0]
        if done > first:
            self.pace[part] = (now - then) / (done - first)
        after, pace = self._from(self._parts.index(part) + 1), self._pace_of(part)
        return None if after is None or pace is None else after + (self._steps[part] - step) * pace

    def _from(self, first: int) -> float | None:
        """Seconds that the parts from `first` on take, or None where the pace of their steps is not known."""
        total = 0.0
        for part in self._parts[first:]:
            if part not in self._steps:
                total += self._seconds.get(part, 0.0)
            elif (pace := self._pace_of(part)) is not None:
                total += self._steps[part] * pace
            else:
                return None
        return total

    def _pace_of(self, part: str) -> float | None:
        return self.pace.get(part, next(iter(self.pace.values()), None))
