"""Where something may be, so that rays need not ask the field elsewhere.

A cell is judged by its centre and a corner, whichever is denser. With those of its neighbours they are a body-centred
lattice, and no place is further from all of them than sqrt(5) / 4 of a cell's width: nothing thicker than 1.12 cells is
missed. While a field is optimised, looks take one and the other in turn, and what was seen before fades.

Letters: G cells per axis.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backend.engine.fields import BOUND, Field

PLACES = (0.5, 0.0)
"""Where the points of a cell are, in its widths along each axis."""

FADING = 0.5
"""What is left, at each further look, of a density that was seen before."""


@dataclass(frozen=True)
class Occupancy:
    """Which cells of the cube may hold something. cells: (G, G, G), axes x, y, z."""

    cells: Bool[Tensor, "G G G"]

    @classmethod
    def of(cls, field: Field, resolution: int, threshold: float, device: torch.device) -> "Occupancy":
        """Cells where the density reaches `threshold` at any of their points, and all their neighbours."""
        return Densities.of(field, resolution, device).occupancy(threshold)

    @property
    def share(self) -> float:
        """Share of cells that are occupied."""
        return self.cells.float().mean().item()


@dataclass(frozen=True)
class Densities:
    """What is known of the highest density in each cell."""

    highest: Float[Tensor, "G G G"]

    @classmethod
    def of(cls, field: Field, resolution: int, device: torch.device) -> "Densities":
        """The most of all points."""
        centre, corner = (_density(field, resolution, place, device) for place in PLACES)
        return cls(torch.maximum(centre, corner))

    def after(self, field: Field, look: int) -> "Densities":
        """What is known after the next look, at one point of each cell. look: how many there were before."""
        seen = _density(field, len(self.highest), PLACES[look % len(PLACES)], self.highest.device)
        return Densities(torch.maximum(FADING * self.highest, seen))

    def occupancy(self, threshold: float) -> Occupancy:
        """Cells that reach `threshold`, and all their neighbours."""
        # Written so that what is not a number counts as something: it must not vanish from sight.
        dense = ~(self.highest < threshold)
        # Room to grow: an object spreads into the empty cells beside it, never into those it cannot see.
        grown = torch.nn.functional.max_pool3d(dense[None, None].float(), 3, stride=1, padding=1)
        return Occupancy(grown[0, 0] > 0)


@torch.no_grad()
def _density(field: Field, resolution: int, place: float, device: torch.device) -> Float[Tensor, "G G G"]:
    """Density at one point of each cell."""
    axis = (torch.arange(resolution, device=device) + place) * (2 * BOUND / resolution) - BOUND
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).flatten(0, 2)
    return field.density(points).reshape(resolution, resolution, resolution)
