"""Score distillation: what a frozen diffusion model wants changed in an image.

SDS (DreamFusion, arXiv 2209.14988, eq. 3) moves the image x along w(t) (eps_cfg(z_t; y, t) - eps),
where z is the image in the model's space and z_t = sqrt(abar) z + sqrt(1 - abar) eps. The gradient
goes through z = model_space(x) only, never through the model that predicts the noise.

Letters: B views, C x h x w what the model diffuses, abar = alphas_cumprod.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from backend.guidance.interface import Conditioning, Guidance

WeightName = Literal["one", "sds"]
WEIGHTS: tuple[WeightName, ...] = get_args(WeightName)


def gradient_weight(name: WeightName, abar: float) -> float:
    """w(t): 1, or DreamFusion's 1 - abar, which fades out towards small t."""
    return 1.0 if name == "one" else 1.0 - abar


def gradient(
    guidance: Guidance,
    clean: Float[Tensor, "B C h w"],
    t: int,
    conditioning: Conditioning,
    cfg: float,
    weight: WeightName,
    noise: Float[Tensor, "B C h w"],
) -> Float[Tensor, "B C h w"]:
    """w(t) (eps_cfg - eps) for images in the model's space: what to subtract from them, and a constant."""
    abar = float(guidance.abar[t])
    with torch.no_grad():
        noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
        return gradient_weight(weight, abar) * (guidance.eps(noisy, t, conditioning, cfg) - noise)


def surrogate(clean: Float[Tensor, "B C h w"], wanted: Float[Tensor, "B C h w"]) -> Float[Tensor, ""]:
    """|clean - target|^2 / 2B with target = clean - wanted held fixed: its derivative by `clean` is wanted / B."""
    target = (clean - wanted).detach()
    return (clean - target).square().sum() / (2 * len(clean))
