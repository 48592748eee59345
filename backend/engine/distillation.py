"""Score distillation: what a frozen diffusion model wants changed in an image.

An image x is moved by w(t) times what a rule makes of the model's predictions at z_t, where z is the image in the
model's space and z_t = sqrt(abar) z + sqrt(1 - abar) eps. The gradient goes through z = model_space(x) only, never
through the model that predicts.

Letters: B views, C x h x w what the model diffuses, abar = alphas_cumprod.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.rules.step import Rule, Step

WeightName = Literal["one", "sds"]


def gradient_weight(name: WeightName, abar: float) -> float:
    """w(t): 1, or DreamFusion's 1 - abar, which fades out towards small t."""
    return 1.0 if name == "one" else 1.0 - abar


@torch.no_grad()
def gradient(step: Step, rule: Rule, weight: WeightName) -> Float[Tensor, "B C h w"]:
    """What to subtract from the images in the model's space: a constant."""
    return gradient_weight(weight, step.abar(step.t)) * rule(step)


def surrogate(clean: Float[Tensor, "B C h w"], wanted: Float[Tensor, "B C h w"]) -> Float[Tensor, ""]:
    """|clean - target|^2 / 2B with target = clean - wanted held fixed: its derivative by `clean` is wanted / B."""
    target = (clean - wanted).detach()
    return (clean - target).square().sum() / (2 * len(clean))
