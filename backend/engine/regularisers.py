"""Regularisers: what is asked of a field besides looking right. Each is a plain function of one quantity.

Letters: B views, R rays, n samples. All return sums over pixels divided by B, as the guidance's loss does.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_LEAST_CHANGE = 0.01
"""Lengths well below it count by their squares."""


@dataclass(frozen=True)
class Ramp:
    """A weight that goes linearly from `start` to `end` while progress goes from `begin` to `finish`."""

    start: float = 0.0
    end: float = 0.0
    begin: float = 0.0
    finish: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin <= self.finish <= 1:
            raise ValueError(f"a ramp runs within [0, 1], not from {self.begin} to {self.finish}")

    def at(self, progress: float) -> float:
        """The weight at `progress` in [0, 1]."""
        if progress >= self.finish:
            return self.end
        if progress <= self.begin:
            return self.start
        share = (progress - self.begin) / (self.finish - self.begin)
        return self.start + (self.end - self.start) * share


def opacity(alpha: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Total opacity: keeps the field from filling space that no view needs."""
    return alpha.sum() / len(alpha)


def entropy(alpha: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Binary entropy of the opacity, in nats: 0 where a pixel is empty or solid, largest for fog."""
    # Clamped, because the slope at 0 and 1 is infinite; a pixel that is solid to 1e-4 needs no push.
    p = alpha.clamp(1e-4, 1 - 1e-4)
    return -(p * p.log() + (1 - p) * torch.log1p(-p)).sum() / len(alpha)


def orientation(
    normals: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], opacities: Float[Tensor, " n"], views: int
) -> Float[Tensor, ""]:
    """Visible surfaces face the camera: opacity * max(0, n.d)^2 (Ref-NeRF, arXiv 2112.03907, eq. 11).

    What is seen is held fixed: the field is to turn what faces away, not to hide it.
    """
    away = (normals * directions).sum(-1).clamp(min=0)
    return (opacities.detach() * away.square()).sum() / views


def variation(
    here: Float[Tensor, "n c"], beside: Float[Tensor, "n c"], opacities: Float[Tensor, " n"], views: int
) -> Float[Tensor, ""]:
    """Visible surfaces go on as they are: opacity * |x - x'|, with x' what is a little beside.

    Not squared, as in total variation (Rudin, Osher and Fatemi 1992): a sharp edge costs no more than a round one,
    waves cost what they go back and forth. What is seen is held fixed.
    """
    # Rounded off at 0, where the slope of a length has no direction.
    changed = ((here - beside).square().sum(-1) + _LEAST_CHANGE**2).sqrt()
    return (opacities.detach() * changed).sum() / views


def eikonal(slopes: Float[Tensor, "n 3"]) -> Float[Tensor, ""]:
    """(|g| - 1)^2, its mean: a distance grows by a metre per metre everywhere (arXiv 2002.10099, eq. 2)."""
    return (slopes.norm(dim=-1) - 1).square().mean()
