"""A field on a multi-resolution hash grid: fine detail in little memory, on any device.

Instant-NGP (Mueller et al., arXiv 2201.05989) in plain torch. Level sizes, the half-cell offset, the
hash and the order of the parameters are those of tiny-cuda-nn, so that `tcnn_hashgrid` computes the
same function, only faster, and either can load what the other saved.

Letters: n points, L levels, F features per level, k = F times the levels shown, c colour channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from backend.engine.fields import BOUND, Blob, activated_colour, activated_density

PRIMES = (1, 2654435761, 805459861)
"""One factor per axis (Instant-NGP, eq. 4)."""

HEADS_RATE = 0.1
"""The networks learn this much slower than the table, as in the published programs."""


@dataclass(frozen=True)
class Level:
    """One grid of the stack.

    scale: cells across the unit cube, seldom a whole number. resolution: grid points per axis. size and
    offset: how many entries of the table it has, and where they begin. hashed: whether its points
    have to share them.
    """

    scale: float
    resolution: int
    size: int
    offset: int
    hashed: bool


@dataclass(frozen=True)
class HashGridConfig:
    """Sizes of the grid and of the two networks; the defaults are what text-to-3D programs agree on.

    base, finest: grid points per axis of the first and the last level. log2_table: a level has at most
    2^log2_table entries. hidden: width of the one hidden layer. grown_by: the progress in [0, 1] at
    which all levels are shown; half of them are from the start.
    """

    levels: int = 16
    features: int = 2
    log2_table: int = 19
    base: int = 16
    finest: int = 2048
    hidden: int = 64
    grown_by: float = 0.5

    def __post_init__(self) -> None:
        if self.levels < 1 or self.features not in (1, 2, 4, 8) or not 3 <= self.log2_table <= 24:
            raise ValueError("a hash grid has 1 level or more, 1, 2, 4 or 8 features and tables of 2^3 to 2^24 entries")
        if not 2 <= self.base <= self.finest:
            raise ValueError(f"a hash grid grows from 2 points or more, not from {self.base} to {self.finest}")
        if not 0 <= self.grown_by <= 1:
            raise ValueError(f"grown_by is a progress in [0, 1], not {self.grown_by}")

    @property
    def growth(self) -> float:
        """Ratio of the resolutions of neighbouring levels."""
        return math.exp(math.log(self.finest / self.base) / max(1, self.levels - 1))

    @property
    def width(self) -> int:
        """Features of a point, on all levels together."""
        return self.levels * self.features

    @property
    def stack(self) -> tuple[Level, ...]:
        """All levels, coarse to fine."""
        levels: list[Level] = []
        offset = 0
        for index in range(self.levels):
            # In single precision, as tiny-cuda-nn has it: a scale next to a whole number must round the same way.
            exponent = np.float32(index) * np.log2(np.float32(self.growth))
            scale = np.exp2(exponent) * np.float32(self.base) - np.float32(1)
            resolution = math.ceil(scale) + 1
            size = min(8 * math.ceil(resolution**3 / 8), 2**self.log2_table)
            levels.append(Level(float(scale), resolution, size, offset, hashed=size < resolution**3))
            offset += size
        return tuple(levels)

    def shown(self, progress: float) -> int:
        """How many levels are shown at `progress`: the coarse half, then one more at a time."""
        if progress >= self.grown_by:
            return self.levels
        hidden = self.levels // 2
        return self.levels - hidden + int(hidden * progress / self.grown_by)


class HashEncoding(nn.Module):
    """Features of points, interpolated on every level.

    params: entries by features, flat, level after level; drawn uniformly from +-1e-4.
    """

    scale: Tensor
    stride: Tensor
    size: Tensor
    offset: Tensor

    def __init__(self, config: HashGridConfig, generator: torch.Generator) -> None:
        super().__init__()
        stack = config.stack
        self.features = config.features
        self.dense = sum(not level.hashed for level in stack)
        self.ends = tuple(config.features * (level.offset + level.size) for level in stack)
        # A level's entries are a power of two where they are shared, so factors beyond it change nothing.
        strides = [[p % v.size if v.hashed else v.resolution**i for i, p in enumerate(PRIMES)] for v in stack]
        columns = {
            "scale": torch.tensor([level.scale for level in stack])[:, None, None],
            "stride": torch.tensor(strides)[:, :, None],
            "size": torch.tensor([level.size for level in stack])[:, None, None, None, None],
            "offset": torch.tensor([level.offset for level in stack])[:, None, None, None, None],
        }
        for name, column in columns.items():
            self.register_buffer(name, column.to(generator.device), persistent=False)
        self.params = nn.Parameter(initial_table(config, generator))

    def forward(self, unit: Float[Tensor, "n 3"], shown: int) -> Float[Tensor, "n k"]:
        """Features of points of the unit cube [0, 1]^3 on the `shown` coarsest levels. Twice differentiable."""
        position = unit.t() * self.scale[:shown] + 0.5
        cell = position.detach().floor()
        fraction = position - cell
        x, y, z = _per_corner(torch.stack([1 - fraction, fraction], dim=1))
        weights = x * y * z
        entries = self._entries(cell.long()).flatten()
        # One feature at a time: torch gathers and scatters numbers several times faster than short rows.
        columns = self.params[: self.ends[shown - 1]].reshape(-1, self.features).t().contiguous()
        values = [(column.index_select(0, entries).view_as(weights) * weights).sum((1, 2, 3)) for column in columns]
        return torch.stack(values, dim=-1).transpose(0, 1).flatten(1)

    def _entries(self, cell: Int[Tensor, "L 3 n"]) -> Int[Tensor, "L 2 2 2 n"]:
        """Where in the table the eight corners of each cell are."""
        count = len(cell)
        size, dense = self.size[:count], min(self.dense, count)
        first = cell * self.stride[:count]
        x, y, z = _per_corner(torch.stack([first, first + self.stride[:count]], dim=1))
        direct = x[:dense] + y[:dense] + z[:dense]
        # The half-cell offset puts corners beyond the last grid point; they wrap around once.
        direct = direct - size[:dense] * (direct >= size[:dense])
        hashed = (x[dense:] ^ y[dense:] ^ z[dense:]) & (size[dense:] - 1)
        return torch.cat([direct, hashed]) + self.offset[:count]


def _per_corner(pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of (L, 2, 3, n), two values per axis, the x, y and z parts, to be combined into (L, 2, 2, 2, n)."""
    x, y, z = pairs.unbind(2)
    return x[:, None, None], y[:, None, :, None], z[:, :, None, None]


def initial_table(config: HashGridConfig, generator: torch.Generator) -> Float[Tensor, " entries"]:
    """Uniform draws from +-1e-4 for all entries of all levels."""
    count = config.features * sum(level.size for level in config.stack)
    return (2 * torch.rand(count, generator=generator, device=generator.device) - 1) * 1e-4


class HashGridField(nn.Module):
    """A hash grid read by two small networks, one for density and one for colour; a soft blob at the start.

    It is made on the generator's device. `encoding` maps points of the unit cube and the number of levels
    shown to (n, k) features; without one it is a `HashEncoding`. The levels shown follow from the
    progress alone and are not part of the state: refine, then load.
    """

    def __init__(
        self,
        generator: torch.Generator,
        channels: int = 3,
        config: HashGridConfig | None = None,
        blob: Blob | None = None,
        encoding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config or HashGridConfig()
        self.blob = blob or Blob()
        self.shown = self.config.shown(0.0)
        self.encoding = encoding or HashEncoding(self.config, generator)
        self.density_head = head(self.config.width, self.config.hidden, 1, generator)
        self.colour_head = head(self.config.width, self.config.hidden, channels, generator)

    def refine(self, progress: float) -> None:
        self.shown = self.config.shown(progress)

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        yield list(self.encoding.parameters()), 1.0
        yield [*self.density_head.parameters(), *self.colour_head.parameters()], HEADS_RATE

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return self._density(x, self._encoded(x))

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        return activated_colour(self.colour_head(self._encoded(x)))

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c"]]:
        features = self._encoded(x)
        return self._density(x, features), activated_colour(self.colour_head(features))

    def _density(self, x: Float[Tensor, "n 3"], features: Float[Tensor, "n LF"]) -> Float[Tensor, " n"]:
        return activated_density(self.density_head(features)[:, 0] + self.blob(x))

    def _encoded(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n LF"]:
        """Features on all levels, 0 on those not shown yet; constant beyond the cube."""
        return encoded(self.encoding, x, self.shown, self.config.width)


def encoded(encoding: nn.Module, x: Float[Tensor, "n 3"], shown: int, width: int) -> Float[Tensor, "n {width}"]:
    """Features of points of the cube on the `shown` coarsest levels, constant beyond it, and zeros up to `width`."""
    features: Tensor = encoding(((x / BOUND + 1) / 2).clamp(0, 1), shown)
    return nn.functional.pad(features, (0, width - features.shape[1]))


def head(width: int, hidden: int, out: int, generator: torch.Generator) -> nn.Sequential:
    """width -> hidden -> out with a ReLU between, no biases; He initialisation from `generator`."""
    layers = [
        nn.utils.skip_init(nn.Linear, *sizes, bias=False, device=generator.device)
        for sizes in ((width, hidden), (hidden, out))
    ]
    for layer in layers:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])
