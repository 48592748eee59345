"""A mesh that is given as a solid, for a field to start as.

Letters: n points.
"""

import torch

from backend.engine.fitting import Target
from backend.engine.randomness import generator
from backend.engine.sdf import Sharpening
from backend.mesh.asset import TriangleMesh
from backend.mesh.solid import Solid
from backend.pipeline.given import Given

SHARP = Sharpening(first=0.03)
"""A field of distances that starts as something shows it from the first step on."""

_ANYWHERE, _NEAR = 20_000, 40_000
_SPREAD = 0.06  # metres around the surface


def target_of(given: Given, seed: int, device: torch.device) -> Target:
    """The mesh inside the unit sphere, by points all over the cube, most of them near the surface."""
    draws = generator(seed, 0, "solid")
    mesh = TriangleMesh(given.placement.inside(given.mesh.vertices), given.mesh.triangles)
    solid = Solid(mesh, draws)
    anywhere = 2 * torch.rand(_ANYWHERE, 3, generator=draws) - 1
    near = solid.points[:_NEAR] + _SPREAD * torch.randn(_NEAR, 3, generator=draws)
    points = torch.cat([anywhere, near])
    distance, nearest = solid.distance(points)
    colour = None if given.surface is None else given.surface.albedo(solid.surface)[0][nearest].to(device)
    return Target(points.to(device), distance.to(device), colour)
