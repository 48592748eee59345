"""A field whose density comes from a distance: it has one surface, which is sharp in the end.

VolSDF (Yariv et al., arXiv 2106.12052). Letters: n points, G grid points per axis, d the signed distance to the surface
in metres, negative inside, beta the width in metres over which matter fades out around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import BOUND, SIZES, GridField

RADIUS = 0.5
"""Of the ball, in metres, that a field starts as. With the first beta it is as soft as `Blob`."""

METRES = 0.1
"""What 1 in the grid stands for: so at one learning rate distances move by a tenth of what colours do."""

ANYWHERE = 4096
"""At how many points slopes are looked at."""

REACH = 0.03
"""Over how many metres."""


def laplace_density(distance: Float[Tensor, " n"], beta: float) -> Float[Tensor, " n"]:
    """The distribution function of a Laplace variable of mean 0 and scale beta at -d, over beta (VolSDF, eqs. 2 and 3).

    1 / beta deep inside, half of that on the surface, falling by a factor e per beta outside.
    """
    tail = torch.exp(-distance.abs() / beta) / 2
    return torch.where(distance > 0, tail, 1 - tail) / beta


@dataclass(frozen=True)
class Sharpening:
    """How beta falls, exponentially, from `first` to `last` at progress `until` and after."""

    first: float = 0.25
    last: float = 0.03
    until: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.last <= self.first or not 0 < self.until <= 1:
            raise ValueError(f"beta falls from a positive number within the run, not {self.first} to {self.last}")

    def beta(self, progress: float) -> float:
        """At `progress` in [0, 1]."""
        return self.first * (self.last / self.first) ** min(1.0, progress / self.until)


class SdfField(GridField):
    """A grid of distances, in steps of METRES, added to those of a ball; and of colours.

    beta follows from the progress alone and is not part of the state: refine, then load.
    """

    def __init__(self, channels: int = 3, sizes: Sequence[int] = SIZES, sharpening: Sharpening | None = None) -> None:
        super().__init__(channels, sizes)
        self.sharpening = sharpening or Sharpening()
        self.beta = self.sharpening.beta(0.0)

    def refine(self, progress: float) -> None:
        self.beta = self.sharpening.beta(progress)

    def distance(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """d at points of the cube."""
        return self._distance(x, self._learnt(x))

    def slopes(self, generator: torch.Generator) -> Float[Tensor, "m 3"]:
        """The gradient of d at random points, by differences. Differentiable in the field."""
        x = BOUND * (2 * torch.rand(ANYWHERE, 3, generator=generator, device=generator.device) - 1)
        axes = REACH * torch.eye(3, device=x.device)
        beside = torch.stack([x + axes[:, None], x - axes[:, None]])
        after, before = self.distance(beside.flatten(0, 2)).unflatten(0, (2, 3, -1))
        return (after - before).t() / (2 * REACH)

    def _distance(self, x: Float[Tensor, "n 3"], learnt: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return x.norm(dim=-1) - RADIUS + METRES * learnt

    def _density(self, x: Float[Tensor, "n 3"], learnt: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return laplace_density(self._distance(x, learnt), self.beta)
