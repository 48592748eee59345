"""Fields: a density and a colour for every point of the cube [-1, 1]^3.

Letters: n points, c colour channels (3, or those of a latent), G grid points per axis.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.engine.regularisers import Ramp

BOUND = 1.0
"""Fields live in the cube [-BOUND, BOUND]^3; the object is inside the unit sphere."""


@runtime_checkable
class Field(Protocol):
    """A volume that can be rendered: what the engine optimises and what meshes are made from."""

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Extinction per metre, at least 0."""
        ...

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        """Display colour in [0, 1], or a latent."""
        ...

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c"]]:
        """Both at once, which is cheaper than one after the other."""
        ...


@runtime_checkable
class TrainableField(Field, Protocol):
    """A field with parameters that the loop optimises, coarse to fine."""

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        """All parameters, in groups with the factor by which each one's learning rate differs from the run's."""
        ...

    def refine(self, progress: float) -> None:
        """Show the detail due at `progress` in [0, 1] of the run."""
        ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> object: ...


@runtime_checkable
class DistanceField(TrainableField, Protocol):
    """A trainable field whose density falls with the distance to a surface."""

    def distance(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Metres from the surface, negative inside."""
        ...

    def slopes(self, generator: torch.Generator) -> Float[Tensor, "m 3"]:
        """The distance's gradient, at random points of the cube: its length should be 1 everywhere."""
        ...


@dataclass(frozen=True)
class Blob:
    """The soft ball that a field starts as: raw density `centre` at the origin, falling by `slope` per metre.

    A ray through its middle meets 98 % opacity, one that passes 0.5 m beside it 69 %, and 0.9 m beside it 17 %: it is
    solid enough to be carved and can grow everywhere from the first step on.
    """

    centre: float = -1.0
    slope: float = 4.0

    def __call__(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Raw density at points, to be added to what the field has learnt."""
        return self.centre - self.slope * x.norm(dim=-1)


SIZES = (8, 16, 32, 64)
"""Points per axis of the grids that a grid field is the sum of, coarse to fine."""

DENSITY_SCALE = 25.0
"""Density is DENSITY_SCALE * softplus(raw): raw values near 1 make a wall of a few centimetres opaque."""


def activated_density(raw: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Density of raw field values: positive, smooth, linear where large (an exponential would run away)."""
    return DENSITY_SCALE * nn.functional.softplus(raw)


def activated_colour(raw: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Three channels are display colours in [0, 1]; any other number is a latent, taken as it is."""
    return torch.sigmoid(raw) if raw.shape[-1] == 3 else raw


class GridField(nn.Module):
    """A dense grid with trilinear interpolation: quick on any machine, and nothing to install.

    The grid is a sum of grids of several resolutions. To Adam, which moves every number at the same pace,
    that makes broad changes quick and lone voxels slow, so a short run ends smooth. What its first number means
    is for the kinds of it to say, in `_density`; a fresh grid is 0.

    levels: (1, 1 + c, G, G, G) each, axes z, y, x, corner points on the cube's faces.
    """

    def __init__(self, channels: int = 3, sizes: Sequence[int] = SIZES) -> None:
        super().__init__()
        self.levels = nn.ParameterList(nn.Parameter(torch.zeros(1, 1 + channels, size, size, size)) for size in sizes)

    def grid(self, numbers: slice = slice(None)) -> Float[Tensor, "1 k G G G"]:
        """The sum of the grids, at the resolution of the last one, without its terraces. numbers: which of them."""
        coarse, *finer = (level[:, numbers] for level in self.levels)
        total: Tensor = coarse
        for level in finer:
            total = level + nn.functional.interpolate(total, level.shape[2:], mode="trilinear", align_corners=True)
        return smoothed(total)

    def refine(self, progress: float) -> None:
        """Nothing: all of the grid is there from the start."""

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        yield list(self.levels), 1.0

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return self._density(x, self._learnt(x))

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        return activated_colour(sampled(self.grid(slice(1, None)), x))

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c"]]:
        raw = sampled(self.grid(), x)
        return self._density(x, raw[:, 0]), activated_colour(raw[:, 1:])

    def _learnt(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The grid's first number at points."""
        return sampled(self.grid(slice(1)), x)[:, 0]

    def _density(self, x: Float[Tensor, "n 3"], learnt: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Density at points, of what the grid's first number is there."""
        raise NotImplementedError


class VoxelField(GridField):
    """A grid of raw densities and colours, to which a soft blob is added.

    depth: how far below 0 the grid's raw densities may fall, or None for no end. Far below, density has hardly a slope,
    and what was carved away too early, such as the legs of a chair, comes back too late.
    """

    def __init__(
        self, channels: int = 3, sizes: Sequence[int] = SIZES, blob: Blob | None = None, depth: Ramp | None = None
    ) -> None:
        super().__init__(channels, sizes)
        self.blob = blob or Blob()
        self.depth = depth

    @torch.no_grad()
    def refine(self, progress: float) -> None:
        if self.depth is not None:
            share = self.depth.at(progress) / len(self.levels)
            for level in self.levels:
                level[:, :1].clamp_(min=-share)

    def _density(self, x: Float[Tensor, "n 3"], learnt: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return activated_density(learnt + self.blob(x))


def smoothed(grid: Float[Tensor, "1 k G G G"]) -> Float[Tensor, "1 k G G G"]:
    """Each number averaged with its neighbours, by (1, 2, 1) / 4 along each axis; those at the ends of it stay.

    Interpolated linearly, a grid has creases in every one of its planes, which a lit surface shows as terraces.
    """
    return cast(Tensor, _Smoothing.apply(grid))


class _Smoothing(torch.autograd.Function):
    """Both ways by hand: by way of its slices, autograd takes four times as long."""

    @staticmethod
    def forward(ctx: object, grid: Tensor) -> Tensor:
        for axis in (2, 3, 4):
            inner = grid.shape[axis] - 2
            before, after, mean = grid.narrow(axis, 0, inner), grid.narrow(axis, 2, inner), grid.clone()
            mean.narrow(axis, 1, inner).mul_(0.5).add_(before, alpha=0.25).add_(after, alpha=0.25)
            grid = mean
        return grid

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:
        for axis in (2, 3, 4):
            inner = slope.shape[axis] - 2
            here, spread = slope.narrow(axis, 1, inner), slope.clone()
            spread.narrow(axis, 1, inner).mul_(0.5)
            for side in (0, 2):
                spread.narrow(axis, side, inner).add_(here, alpha=0.25)
            slope = spread
        return slope


def sampled(grid: Float[Tensor, "1 k G G G"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n k"]:
    """Trilinear interpolation of `grid` at points of the cube; constant beyond it."""
    # On a CPU torch runs one thread per batch entry here: halves of the points as two entries keep two busy.
    halves = 2 if grid.device.type == "cpu" else 1
    padded = nn.functional.pad(x / BOUND, (0, 0, 0, -len(x) % halves))
    points = padded.reshape(halves, 1, 1, -1, 3)
    values = nn.functional.grid_sample(
        grid.expand(halves, -1, -1, -1, -1), points, align_corners=True, padding_mode="border"
    )
    return values[:, :, 0, 0].permute(0, 2, 1).flatten(0, 1)[: len(x)]
