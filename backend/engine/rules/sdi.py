"""Score distillation via inversion (arXiv 2405.15891): the noise that the model itself sees in the render.

With random noise every step wants another image and their mean is smooth. The noise that DDIM arrives at from the
render, under a negated guidance, is nearly the same from step to step, and so is the image wanted.

Letters: B views, C x h x w what the model diffuses.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.rules import guided
from backend.engine.rules.step import Step

INVERSIONS = 3
"""Steps from the render to z_t, each a call of the model. The authors take up to 10."""

INVERSION_CFG = -7.5
FRESH = 0.3
"""The share of DDPM's random noise that is added on the way."""

OVERSHOOT = 0.1
"""How much further than t the inversion goes, at most, as a share of all timesteps. What it finds counts as at t."""


def sdi(step: Step) -> Float[Tensor, "B C h w"]:
    """z - x0, x0 predicted from the inverted render: the slope of |z - x0|^2 / 2."""
    noisy = step.noisy(step.t, inverted(step))
    said, output = guided.ask(step, noisy, step.t, step.cfg)
    return step.clean - said.clean(output)


def inverted(step: Step) -> Float[Tensor, "B C h w"]:
    """The noise between the images and what DDIM inversion makes of them (arXiv 2010.02502, eq. 12, backwards)."""
    draws = step.draws("inversion")
    last = len(step.guidance.abar) - 1
    beyond = OVERSHOOT * len(step.guidance.abar) * float(torch.rand(1, generator=draws, device=draws.device))
    end = min(step.t + int(beyond), last)
    image = step.clean
    for t, later in pairwise(end * i // INVERSIONS for i in range(INVERSIONS + 1)):
        said, output = guided.ask(step, image, t, INVERSION_CFG)
        now, then = step.abar(t), step.abar(later)
        fresh = torch.randn(image.shape, generator=draws, device=draws.device)
        spread = ((1 - now) / (1 - then) * (1 - then / now)) ** 0.5
        image = then**0.5 * said.clean(output) + (1 - then) ** 0.5 * said.eps(output) + FRESH * spread * fresh
    abar = step.abar(end)
    return (image - abar**0.5 * step.clean) / (1 - abar) ** 0.5
