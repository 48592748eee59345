"""Pictures of a pool's objects as the judge is to learn them: relit, repainted, out of focus, bent.

Letters: B images.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from backend.engine.shading import BackgroundDistribution, LightDistribution, Lights
from backend.prior.colours import repainted
from backend.prior.drawing import Paints, World, albedo
from backend.prior.layers import Layers
from backend.prior.pool import Pool

JUDGES_WORLD = World(
    lights=LightDistribution(ambient=(0.2, 0.95), jitter=0.6),
    backgrounds=BackgroundDistribution(level=(0.0, 1.0), tint=0.1),
)
"""Wider light and backgrounds than the model's, so that the judge looks at the object."""

_UNLIT = 0.25
_PAINTED = 0.45
_PAINT_JITTER = 0.06
_WARPED = 5
"""Points per axis of the grid whose shifts bend a picture."""


class Photographer:
    """Takes pictures of a pool's objects as the judge is to see them."""

    def __init__(self, pool: Pool, generator: torch.Generator) -> None:
        self._pool, self._generator = pool, generator
        self._paints = Paints(pool)
        self._paintable = torch.tensor([bool(names) for names in self._paints.names])
        self._palette = torch.stack([*self._paints.palette.values()])

    def textured(self, index: Int[Tensor, " B"], small: bool = False) -> Float[Tensor, "B 3 H W"]:
        """The pictures at `index`, some with another main colour than they have. small: at half their size."""
        layers, entry = self._layers(index, small), self._pool.entry[index]
        chosen = (self._paintable[entry] & (self._random(len(index)) < _PAINTED)).nonzero()[:, 0]
        part = Layers(layers.albedo[chosen], layers.coverage[chosen], layers.normals[chosen])
        number = (self._random(len(chosen)) * len(self._palette)).long()
        wanted = self._palette[number] + _PAINT_JITTER * torch.randn(len(chosen), 3, generator=self._generator)
        new = repainted(albedo(part), self._paints.main[entry[chosen]], wanted)
        colours = layers.albedo.index_copy(0, chosen, new.permute(0, 3, 1, 2) * part.coverage[:, None])
        return self._lit(Layers(colours, layers.coverage, layers.normals))

    def untextured(self, index: Int[Tensor, " B"], small: bool = False) -> Float[Tensor, "B 3 H W"]:
        """The bare shapes at `index`, each in a grey of its own."""
        layers = self._layers(index, small)
        grey = 0.25 + 0.7 * self._random(len(index))
        plain = (grey[:, None, None] * layers.coverage)[:, None].expand(-1, 3, -1, -1)
        return self._lit(Layers(plain, layers.coverage, layers.normals))

    def _layers(self, index: Int[Tensor, " B"], small: bool) -> Layers:
        layers = self._pool.pictures(index)
        return layers.smaller() if small else layers

    def _lit(self, layers: Layers) -> Float[Tensor, "B 3 H W"]:
        count = len(layers.coverage)
        lights = JUDGES_WORLD.lights.sample(torch.tensor([[0.0, 0.0, 1.0]]).expand(count, -1), self._generator)
        ambient = torch.where(self._random(count) < _UNLIT, 1.0, lights.ambient)
        background = JUDGES_WORLD.backgrounds.sample(count, self._generator)
        return exposed(layers.lit(Lights(lights.direction, ambient), background), self._generator)

    def _random(self, count: int) -> Float[Tensor, " B"]:
        return torch.rand(count, generator=self._generator)


def exposed(images: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Images as a careless photographer takes them: gain, gamma, softness and noise at random."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    soft = images
    for _ in range(2):
        soft = nn.functional.avg_pool2d(soft, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.lerp(images, soft, uniform(-0.3, 1.0).clamp(min=0))
    images = (uniform(0.75, 1.25) * images.clamp(min=0)).pow(uniform(0.8, 1.25))
    return (images + uniform(0.0, 0.06) * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def bent(
    images: Float[Tensor, "B 3 H W"], mirrored: Bool[Tensor, " B"], generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Images turned, shifted, scaled and bent a little, as an object would come out that is not quite right."""
    count, _, height, width = images.shape

    def spread(*shape: int) -> Tensor:
        return 2 * torch.rand(count, *shape, generator=generator) - 1

    scale, angle = 1.02 + 0.14 * spread(), 0.14 * spread()
    sine, cosine = scale * angle.sin(), scale * angle.cos()
    sign = torch.where(mirrored, -1.0, 1.0)
    affine = torch.stack([sign * cosine, -sine, sign * sine, cosine], dim=-1).unflatten(-1, (2, 2))
    shifts = 0.08 * spread(2, 1)
    grid = nn.functional.affine_grid(torch.cat([affine, shifts], dim=-1), [count, 3, height, width], False)
    strength = 0.05 * torch.rand(count, 1, 1, 1, generator=generator)
    bends = nn.functional.interpolate(
        strength * spread(2, _WARPED, _WARPED), (height, width), mode="bicubic", align_corners=True
    )
    where = grid + bends.permute(0, 2, 3, 1)
    return nn.functional.grid_sample(images, where, padding_mode="border", align_corners=False)
