"""One prediction out of several: classifier-free guidance, Perp-Neg, and what the model's output means.

Letters: B views, K things to keep away from, C x h x w what the model diffuses.
"""

from jaxtyping import Float
from torch import Tensor

from backend.guidance.folders import Prediction

_SMALLEST_NORM = 1e-6


def classifier_free(
    unconditional: Float[Tensor, "B C h w"], conditional: Float[Tensor, "B C h w"], cfg: float
) -> Float[Tensor, "B C h w"]:
    """u + cfg (c - u): cfg = 1 is the conditional prediction."""
    return unconditional + cfg * (conditional - unconditional)


def perp_neg(
    unconditional: Float[Tensor, "B C h w"],
    conditional: Float[Tensor, "B C h w"],
    against: Float[Tensor, "B K C h w"],
    weights: Float[Tensor, "B K"],
    cfg: float,
) -> Float[Tensor, "B C h w"]:
    """Perp-Neg (arXiv 2304.04968): u + cfg (d + sum_k w_k perp(d_k, d)), d = c - u, d_k = against_k - u.

    perp(x, d) is the part of x that is at right angles to d, over all of C, h, w. Negative weights
    move away from a thing without moving away from what it shares with the prompt.
    """
    wanted = conditional - unconditional
    unwanted = against - unconditional[:, None]
    length = wanted.square().sum((1, 2, 3)).clamp(min=_SMALLEST_NORM)
    share = (unwanted * wanted[:, None]).sum((2, 3, 4)) / length[:, None]
    perpendicular = unwanted - share[:, :, None, None, None] * wanted[:, None]
    return unconditional + cfg * (wanted + (weights[:, :, None, None, None] * perpendicular).sum(1))


def as_eps(
    output: Float[Tensor, "B C h w"], noisy: Float[Tensor, "B C h w"], abar: float, prediction: Prediction
) -> Float[Tensor, "B C h w"]:
    """The noise that a model's output stands for: v = sqrt(abar) eps - sqrt(1 - abar) x_0, or x_0 itself.

    Each is an affine function of eps, so it does not matter whether predictions are combined before or after.
    """
    signal, noise = abar**0.5, (1 - abar) ** 0.5
    if prediction == "v_prediction":
        return signal * output + noise * noisy
    if prediction == "sample":
        return (noisy - signal * output) / noise
    return output
