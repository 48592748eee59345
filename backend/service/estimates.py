"""How long a job will take: what jobs like it took, or what its steps take on this machine."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from backend.guidance.library import BUILTIN
from backend.pipeline.presets import preset

LATEST = 20
"""Jobs that an estimate looks back on."""

_BESIDES_SECONDS = {"draft": 6.0, "standard": 9.0, "high": 20.0}
"""What loading, the mesh stage and the pictures take besides the steps, as measured on two cores without a GPU."""


@dataclass(frozen=True)
class Estimates:
    """What is known about the time that jobs take.

    finished: model, preset and seconds of jobs that took the preset's own steps, the oldest first. step: seconds
    that a step with the built-in model takes on this machine, or None before that was measured.
    """

    finished: Sequence[tuple[str, str, float]]
    step: float | None

    def seconds(self, model: str, name: str) -> float | None:
        """How long a job with `model` by the preset `name` runs, or None where nothing is known about it."""
        latest = [took for used, by, took in self.finished if (used, by) == (model, name)][-LATEST:]
        if latest:
            return statistics.median(latest)
        if model != BUILTIN or self.step is None:
            return None
        return self.step * preset(name, small=True, device="cpu").steps + _BESIDES_SECONDS[name]
