"""Guided predictions: one out of several, by classifier-free guidance and Perp-Neg. A part of most rules.

Letters: B views, C x h x w what the model diffuses, K conditionings, A things to keep away from, L tokens of width D.
"""

from jaxtyping import Float
from torch import Tensor

from backend.engine.rules.step import Step
from backend.guidance.interface import Wishes
from backend.guidance.predictions import Predictions

_SMALLEST_NORM = 1e-6


def ask(
    step: Step, noisy: Float[Tensor, "B C h w"], t: int, cfg: float
) -> tuple[Predictions, Float[Tensor, "B C h w"]]:
    """What the model says at timestep t, and the guided output. Where only the prompt counts, no more is asked."""
    if cfg == 1 and step.wishes.against is None:
        said = step.predict(noisy, t, [step.wishes.positive])
        return said, said.outputs[0]
    said = step.predict(noisy, t, conditionings(step.wishes))
    return said, combined(said, step.wishes, cfg)


def conditionings(wishes: Wishes) -> list[Float[Tensor, "B L D"]]:
    """All that a guided prediction may be made of: negative, positive, and what to keep away from."""
    against = [] if wishes.against is None else wishes.against.unbind(1)
    return [wishes.negative, wishes.positive, *against]


def combined(said: Predictions, wishes: Wishes, cfg: float) -> Float[Tensor, "B C h w"]:
    """The guided output, of predictions for `conditionings`."""
    unconditional, conditional = said.outputs[0], said.outputs[1]
    if wishes.against_weights is None:
        return classifier_free(unconditional, conditional, cfg)
    return perp_neg(unconditional, conditional, said.outputs[2:].transpose(0, 1), wishes.against_weights, cfg)


def classifier_free(
    unconditional: Float[Tensor, "B C h w"], conditional: Float[Tensor, "B C h w"], cfg: float
) -> Float[Tensor, "B C h w"]:
    """u + cfg (c - u) (arXiv 2207.12598): cfg = 1 is the conditional prediction."""
    return unconditional + cfg * (conditional - unconditional)


def perp_neg(
    unconditional: Float[Tensor, "B C h w"],
    conditional: Float[Tensor, "B C h w"],
    against: Float[Tensor, "B A C h w"],
    weights: Float[Tensor, "B A"],
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
