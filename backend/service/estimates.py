"""How long a job will take: what jobs like it took, what its steps took or take on this machine, or by counting."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backend.guidance.library import BUILTIN, ModelSource
from backend.pipeline import estimate
from backend.pipeline.estimate import Expected
from backend.pipeline.presets import Preset

LATEST = 20
"""Jobs that an estimate looks back on."""


@dataclass(frozen=True)
class Estimates:
    """What is known about the time that jobs take.

    finished: model, preset and seconds of jobs that took the preset's own steps, the oldest first. step: seconds
    that a step with the built-in model takes on this machine, or None before that was measured. steps: the same of
    earlier jobs, by model and preset. rate: floating-point operations a second, or None before that was measured.
    """

    finished: Sequence[tuple[str, str, float]]
    step: float | None
    steps: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rate: float | None = None

    def of(self, model: ModelSource, name: str, chosen: Preset) -> Expected | None:
        """What a job with `model` by the preset `name` takes, or None where nothing is known about it."""
        step = self._step(model, name, chosen)
        latest = [took for used, by, took in self.finished if (used, by) == (model.name, name)][-LATEST:]
        if latest:
            return Expected(statistics.median(latest), step)
        return None if step is None else Expected(estimate.of_steps(step, chosen.steps, name), step)

    def _step(self, model: ModelSource, name: str, chosen: Preset) -> float | None:
        if took := self.steps.get((model.name, name)):
            return took
        if model.name == BUILTIN:
            return self.step
        if self.rate is None:
            return None
        work = estimate.work_of_step(model.folder, chosen.views, chosen.perp_neg)
        return None if work is None else work / self.rate
