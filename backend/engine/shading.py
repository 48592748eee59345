"""Light and backgrounds: the other half of how an image is formed.

Colours are display values in [0, 1] (what a PNG or a base-colour texture holds) and light multiplies
them as they are. The prior is trained on images formed here, so whoever asks it for guidance must
form images here too: a background it never saw comes back as fog, a light it never saw is baked in.

Letters: B images, c channels: 3 of colour, or those of a latent.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Lights:
    """One directional light per image, plus ambient light.

    direction: (B, 3) unit vectors towards the light. ambient: (B,) share of light in [0, 1] that
    reaches every surface; the rest is Lambertian.
    """

    direction: Float[Tensor, "B 3"]
    ambient: Float[Tensor, " B"]

    def shade(self, normals: Float[Tensor, "B *rays 3"]) -> Float[Tensor, "B *rays"]:
        """Brightness in [ambient, 1] of surfaces with unit `normals`: ambient + (1 - ambient) max(0, n.l)."""
        per_image = (len(normals), *[1] * (normals.ndim - 2))
        cosine = (normals * self.direction.reshape(*per_image, 3)).sum(-1).clamp(min=0)
        ambient = self.ambient.reshape(per_image)
        return ambient + (1 - ambient) * cosine

    def part(self, which: slice) -> "Lights":
        """Some of them."""
        return Lights(self.direction[which], self.ambient[which])

    def to(self, device: torch.device) -> "Lights":
        """The same lights, with their numbers on `device`."""
        return Lights(self.direction.to(device), self.ambient.to(device))


@dataclass(frozen=True)
class LightDistribution:
    """Lights near the camera: the direction is the camera's plus Gaussian jitter, renormalised."""

    ambient: tuple[float, float] = (0.3, 0.9)
    jitter: float = 0.35

    def sample(self, towards_camera: Float[Tensor, "B 3"], generator: torch.Generator) -> Lights:
        """Draw one light for each unit vector in `towards_camera`."""
        noise = torch.randn(towards_camera.shape, generator=generator, device=generator.device)
        share = torch.rand(len(towards_camera), generator=generator, device=generator.device)
        return Lights(
            direction=torch.nn.functional.normalize(towards_camera + self.jitter * noise, dim=-1),
            ambient=self.ambient[0] + (self.ambient[1] - self.ambient[0]) * share,
        )


@dataclass(frozen=True)
class BackgroundDistribution:
    """Plain backgrounds: a grey level, slightly tinted."""

    level: tuple[float, float] = (0.1, 0.95)
    tint: float = 0.05

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "B 3"]:
        """Draw `count` colours in [0, 1]."""
        level = torch.rand(count, 1, generator=generator, device=generator.device)
        tint = self.tint * torch.randn(count, 3, generator=generator, device=generator.device)
        return (self.level[0] + (self.level[1] - self.level[0]) * level + tint).clamp(0, 1)


def over(
    foreground: Float[Tensor, "B c H W"], alpha: Float[Tensor, "B H W"], background: Float[Tensor, "B c"]
) -> Float[Tensor, "B c H W"]:
    """Composite premultiplied `foreground` over plain `background` colours."""
    return foreground + (1 - alpha[:, None]) * background[:, :, None, None]
