"""A field that starts as a solid: fitted to it in a few steps before any guidance, and held near it under guidance.

Letters: n points.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import DistanceField, TrainableField
from backend.engine.randomness import generator

STEPS = 150
_AT_ONCE = 8192

_LENGTH = 0.05
"""Metres of matter that are to be opaque inside, and clear outside."""

_SOFT = 0.015
"""Metres over which the one turns into the other: grids are hardly finer."""

_FAR = 0.3  # metres; what is farther from the surface is just far


@dataclass(frozen=True)
class Target:
    """Points of the cube. distance: metres from the surface, negative inside. colour: what they are to show, if any."""

    points: Float[Tensor, "n 3"]
    distance: Float[Tensor, " n"]
    colour: Float[Tensor, "n 3"] | None = None

    def some(self, draws: torch.Generator) -> "Target":
        """As many of the points as are looked at in a step."""
        which = torch.randint(len(self.points), (_AT_ONCE,), generator=draws, device=draws.device)
        colour = None if self.colour is None else self.colour[which]
        return Target(self.points[which], self.distance[which], colour)


def fit(field: TrainableField, target: Target, rate: float, seed: int, steps: int = STEPS) -> None:
    """Make `field`, which is as new, like `target`. rate: Adam's at first, as in a run; it falls to a tenth."""
    field.refine(0.0)
    groups = [{"params": parameters, "rate": factor} for parameters, factor in field.parameter_groups()]
    adam = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99), eps=1e-15)
    device = target.points.device
    for step in range(steps):
        some = target.some(generator(seed, step, "fitting", device))
        adam.zero_grad(set_to_none=True)
        torch.stack([shape_error(field, some), _colour_error(field, some)]).sum().backward()
        for group in adam.param_groups:
            group["lr"] = group["rate"] * rate * 0.1 ** (step / steps)
        adam.step()
        field.refine(0.0)  # which may hold it within its bounds


def shape_error(field: TrainableField, target: Target, inside: float = 1.0) -> Float[Tensor, ""]:
    """How far the field is from the solid, a mean over points: of squared distances, or in nats of what is opaque.

    inside: what a point within the solid weighs; one outside weighs 1.
    """
    weights = torch.where(target.distance < 0, inside, 1.0)
    return (weights * _errors(field, target)).mean()


def _errors(field: TrainableField, target: Target) -> Float[Tensor, " n"]:
    if isinstance(field, DistanceField):
        far = target.distance.clamp(-_FAR, _FAR)
        return ((field.distance(target.points).clamp(-_FAR, _FAR) - far) / _FAR).square()
    clear = (-field.density(target.points) * _LENGTH).exp().clamp(1e-4, 1 - 1e-4)
    wanted = torch.sigmoid(target.distance / _SOFT)
    return torch.nn.functional.binary_cross_entropy(clear, wanted, reduction="none")


def _colour_error(field: TrainableField, target: Target) -> Float[Tensor, ""]:
    if target.colour is None:
        return target.distance.new_zeros(())
    near = (target.distance.abs() < 2 * _LENGTH)[:, None]
    return ((field.colour(target.points) - target.colour) * near).square().mean()
