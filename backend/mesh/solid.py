"""What is inside a mesh, even one with holes, of several pieces or of paper.

Letters: n points.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from backend.mesh.asset import TriangleMesh
from backend.mesh.fidelity import scattered
from backend.mesh.raycast import Hits, RayCaster

SKIN = 0.01
"""Metres by which surfaces count as thick on either side: a sheet of paper has no inside of its own."""

_DIRECTIONS = 40
_SURFACE = 100_000  # points on it


class Solid:
    """A mesh inside the unit sphere, prepared to be asked about points. draws: of places on its surface."""

    def __init__(self, mesh: TriangleMesh, draws: torch.Generator) -> None:
        self._caster = RayCaster(mesh)
        self.surface: Hits = scattered(mesh, _SURFACE, draws)
        self.points = self.surface.interpolated(torch.from_numpy(mesh.vertices[mesh.triangles]))
        self._tree = KDTree(self.points.numpy())

    def distance(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Tensor]:
        """Metres from the surface, negative inside, accurate to some millimetres; and which of `points` is nearest."""
        distance, nearest = self._tree.query(x.numpy())
        signed = np.where(self.inside(x).numpy(), -distance, distance) - SKIN
        return torch.from_numpy(signed).float(), torch.from_numpy(nearest)

    def inside(self, x: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Which points cannot be seen from anywhere outside, as far as 40 directions tell."""
        hidden = torch.arange(len(x))
        for direction in _spread_directions(_DIRECTIONS):
            rays = x[hidden].contiguous()
            hits = self._caster.first_hits(rays, direction.expand(len(rays), 3).contiguous())
            hidden = hidden[hits.ray]
        found = torch.zeros(len(x), dtype=torch.bool)
        found[hidden] = True
        return found


def _spread_directions(count: int) -> Float[Tensor, "{count} 3"]:
    """Unit vectors, evenly spread: a spiral from pole to pole (Swinbank and Purser 2006)."""
    index = torch.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, math.pi * (1 + 5**0.5) * index
    width = (1 - height.square()).sqrt()
    return torch.stack([width * torch.cos(turn), width * torch.sin(turn), height], dim=-1)
