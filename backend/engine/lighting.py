"""Which views of a step are lit, and how.

Letters: B views, c colour channels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.rendering import Rendering
from backend.engine.settings import Shading
from backend.engine.shading import LightDistribution, Lights
from backend.guidance.views import Views


@dataclass(frozen=True)
class Lighting:
    """The light of each of B views, in the world. bare: those that are shown without their colours.

    A view in plain colours has ambient light alone.
    """

    lights: Lights
    bare: Bool[Tensor, " B"]

    @classmethod
    def draw(
        cls, shading: Shading, lights: LightDistribution, cameras: Cameras, progress: float, draws: torch.Generator
    ) -> "Lighting":
        """One light per view, in the mixture of plain, lit and bare views that `shading` wants at `progress`."""
        drawn = lights.sample(cameras.backward, draws)
        lot = torch.rand(len(drawn.ambient), generator=draws, device=draws.device)
        if not shading.active(progress):
            return cls(Lights(drawn.direction, torch.ones_like(drawn.ambient)), torch.zeros_like(lot, dtype=torch.bool))
        lit = lot < shading.textureless + shading.lambertian
        return cls(Lights(drawn.direction, drawn.ambient.where(lit, 1.0)), lot < shading.textureless)

    def part(self, views: slice) -> "Lighting":
        """The light of some of the views."""
        return Lighting(self.lights.part(views), self.bare[views])

    def on(self, rendering: Rendering, normals: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B c H W"]:
        """The colours of `rendering` in this light."""
        brightness = self.lights.shade(normals)[:, None]
        bare = self.bare[:, None, None, None]
        return torch.where(bare, rendering.opacity[:, None] * brightness, rendering.colour * brightness)

    def views(self, cameras: Cameras, joint: int) -> Views:
        """What a model may be told of pictures taken so."""
        return Views(cameras, Lights(cameras.seen(self.lights.direction), self.lights.ambient), joint)
