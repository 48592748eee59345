"""Asynchronous score distillation (ScaleDreamer, arXiv 2407.02040): the model itself, a little later, as the rival.

VSD (arXiv 2305.16213) subtracts what a second model, trained on the renders, takes for noise. A frozen model errs less
at a later timestep, as the trained one would, so its prediction there stands in for it.

Letters: B views, C x h x w what the model diffuses.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.rules import guided
from backend.engine.rules.step import Step
from backend.engine.schedules import T_MIN

SHIFT = 0.1
"""The most by which the later timestep is later, as a share of t - T_MIN."""


def asd(step: Step) -> Float[Tensor, "B C h w"]:
    """e_cfg(z_t; t, y) - e(z_t+d; t + d, y), with one noise in both: two calls of the model."""
    later = later_timestep(step)
    said, output = guided.ask(step, step.noisy(step.t), step.t, step.cfg)
    rival = step.predict(step.noisy(later), later, [step.wishes.positive])
    return said.eps(output) - rival.eps(rival.outputs[0])


def later_timestep(step: Step) -> int:
    """t + d, d uniform in [0, SHIFT (t - T_MIN)], within the model's timesteps."""
    draws = step.draws("later")
    shift = SHIFT * max(0, step.t - T_MIN) * float(torch.rand(1, generator=draws, device=draws.device))
    return min(step.t + int(shift), len(step.guidance.abar) - 1)
