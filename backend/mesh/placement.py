"""Where an artist's own mesh lies, and how it is moved to where the program looks.

Letters: V vertices.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from backend.mesh.asset import Asset, TriangleMesh


@dataclass(frozen=True)
class Placement:
    """What lies around `centre` and reaches `radius` from there, moved into the unit sphere; metres."""

    centre: Float64[np.ndarray, "3"]
    radius: float

    @classmethod
    def of(cls, vertices: Float32[np.ndarray, "V 3"]) -> "Placement":
        """That of the middle of their box, the farthest one on the unit sphere, as the built-in model's objects are."""
        wide = vertices.astype(np.float64)
        centre = (wide.min(0) + wide.max(0)) / 2
        return cls(centre, float(np.linalg.norm(wide - centre, axis=-1).max()))

    def inwards(self, asset: Asset) -> Asset:
        """What lies where the artist has it, moved into the unit sphere."""
        return _moved(asset, self.inside(asset.mesh.vertices))

    def outwards(self, asset: Asset) -> Asset:
        """What lies inside the unit sphere, moved to where the artist has it."""
        return _moved(asset, (asset.mesh.vertices * self.radius + self.centre).astype(np.float32))

    def inside(self, vertices: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "V 3"]:
        """Where vertices come to lie in the unit sphere."""
        return ((vertices - self.centre) / self.radius).astype(np.float32)


def _moved(asset: Asset, vertices: Float32[np.ndarray, "V 3"]) -> Asset:
    return replace(asset, mesh=TriangleMesh(vertices, asset.mesh.triangles))
