"""A mesh that is painted, as a field: for those who look on while it is.

Letters: G grid points per axis, n points.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from backend.engine.fields import BOUND, sampled
from backend.engine.painting import Places

_GRID = 64
_DENSE = 100.0  # per metre: opaque within a cell
_THICK = 1.0  # cells on either side of the surface
_REACH = 4.0  # cells from it; what lies between grid points farther away is never looked at


class Shell:
    """A `Field`: a thin wall where the surface is, coloured by `over`.

    places: all over the surface, closer to each other than a cell. over: colours of points that had others `before`.
    """

    def __init__(self, places: Places, over: Callable[[Tensor, Tensor], Tensor]) -> None:
        device = places.points.device
        axis = torch.linspace(-BOUND, BOUND, _GRID)
        points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).flatten(0, 2)
        cell = 2 * BOUND / (_GRID - 1)
        # A search that ends early takes a twentieth of the time: most points are far away.
        distance, nearest = KDTree(places.points.cpu().numpy()).query(
            points.numpy(), distance_upper_bound=_REACH * cell
        )
        wall = (_THICK - torch.from_numpy(distance).float() / cell).clamp(0, 1)
        found = torch.from_numpy(nearest).clamp(max=len(places.points) - 1)  # of those far away, any
        values = torch.cat([wall[:, None], places.before.cpu()[found]], dim=-1)
        # Grids have the axes z, y, x.
        self._grid = values.reshape(_GRID, _GRID, _GRID, 4).permute(3, 2, 1, 0)[None].contiguous().to(device)
        self._over = over

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return _DENSE * sampled(self._grid[:, :1], x)[:, 0]

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        return self._over(sampled(self._grid[:, 1:], x), x)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c"]]:
        return self.density(x), self.colour(x)
