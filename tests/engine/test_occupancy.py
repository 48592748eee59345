"""What is found, how long it is remembered, and that nothing as thick as a cell is missed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.fields import Field
from backend.engine.occupancy import FADING, PLACES, Densities, Occupancy
from backend.engine.rendering import render

CPU = torch.device("cpu")
EVERYWHERE = Occupancy(torch.ones(1, 1, 1, dtype=torch.bool))


@dataclass(frozen=True)
class Solid:
    """A homogeneous red thing."""

    holds: Callable[[Tensor], Tensor]
    inside: float = 200.0

    def density(self, x: Tensor) -> Tensor:
        return self.inside * self.holds(x).to(x.dtype)

    def colour(self, x: Tensor) -> Tensor:
        return x.new_tensor([0.9, 0.2, 0.1]).expand(len(x), -1)

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(x), self.colour(x)


def ball(radius: float, *centre: float, inside: float = 200.0) -> Solid:
    return Solid(lambda x: (x - x.new_tensor(centre)).norm(dim=-1) < radius, inside)


def rod(radius: float, x: float, y: float) -> Solid:
    """Upright, along the whole cube."""
    return Solid(lambda points: (points[:, :2] - points.new_tensor([x, y])).norm(dim=-1) < radius)


def test_occupied_cells_are_those_of_the_field_and_their_neighbours() -> None:
    # Cells are 0.25 wide; the ball is inside the one from (0.5, -0.25, -1) to (0.75, 0, -0.75): number 6, 3, 0.
    small = ball(0.05, 0.625, -0.125, -0.875, inside=1.0)
    cells = Occupancy.of(small, 8, 0.5, CPU).cells
    expected = torch.zeros(8, 8, 8, dtype=torch.bool)
    expected[5:8, 2:5, 0:2] = True
    assert torch.equal(cells, expected)
    assert Occupancy(cells).share == pytest.approx(18 / 512)
    assert Occupancy.of(small, 8, 1.0, CPU).cells.any()
    assert not Occupancy.of(small, 8, 1.01, CPU).cells.any()


def opaque(field: Field, occupancy: Occupancy) -> Tensor:
    with torch.no_grad():
        return render(field, ring(2, 0), 48, occupancy, 0.01).opacity > 0.5


@pytest.mark.parametrize("edge", [0.0, 0.25, -0.5])
def test_a_rod_thinner_than_a_cell_keeps_its_pixels_on_the_edge_of_one(edge: float) -> None:
    # Cells are 0.0625 wide: all centres around are 0.0442 away.
    thin = rod(0.04, edge, edge)
    everything = opaque(thin, EVERYWHERE)
    assert everything.sum() > 100
    assert torch.equal(opaque(thin, Occupancy.of(thin, 32, 0.5, CPU)), everything)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sheet_keeps_its_pixels_between_two_layers_of_cells(axis: int) -> None:
    thin = Solid(lambda x: (x[:, axis].abs() < 0.02) & (x.abs().amax(1) < 0.6))
    assert torch.equal(opaque(thin, Occupancy.of(thin, 32, 0.5, CPU)), opaque(thin, EVERYWHERE))


def test_nothing_that_is_a_little_thicker_than_a_cell_is_missed(generator: torch.Generator) -> None:
    whole = torch.cartesian_prod(*[torch.arange(-1.0, 3.0)] * 3)
    lattice = torch.cat([whole + place for place in PLACES])
    furthest = torch.cdist(torch.rand(20_000, 3, generator=generator), lattice).amin(1).max().item()
    assert 0.53 < furthest <= math.sqrt(5) / 4  # widths of a cell
    for _ in range(50):
        centre = (1.4 * torch.rand(3, generator=generator) - 0.7).tolist()
        assert Occupancy.of(ball(0.25 * math.sqrt(5) / 4 + 1e-3, *centre), 8, 0.5, CPU).cells.any()


def test_what_is_not_a_number_counts_as_something() -> None:
    assert Occupancy.of(Solid(lambda x: x[:, 0] > 0.9, math.nan), 4, 0.5, CPU).cells.any()


def test_what_was_seen_fades_and_what_is_there_is_seen_again() -> None:
    thin = rod(0.04, 0.0, 0.0)
    known = Densities.of(thin, 32, CPU)
    for look in range(1, 40):
        known = known.after(thin, look)
        assert torch.equal(opaque(thin, known.occupancy(0.5)), opaque(thin, EVERYWHERE))
    nothing = Solid(lambda x: torch.zeros(len(x)))
    looks = math.ceil(math.log(0.5 / 200, FADING))
    for look in range(looks):
        assert known.occupancy(0.5).cells.any()
        known = known.after(nothing, look)
    assert not known.occupancy(0.5).cells.any()
