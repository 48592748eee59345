"""Pictures of the prior's objects: batched sphere tracing, on any device.

A picture is traced once into layers that know where which part is and how bright it is lit, and
coloured afterwards: light is linear, so one trace serves every colour and background.

Letters: B pictures of one object, H x W pixels, R rays.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.shading import Lights, over
from backend.prior.materials import PATTERNS
from backend.prior.shapes import Shape

SUPERSAMPLING = 2
"""Rays per pixel and axis."""

_STEPS = 64
_COMPACT_EVERY = 6
_RELAXATION = 0.92  # some distances are overestimated by a few per cent
_HIT = 2e-3


@dataclass(frozen=True)
class Layers:
    """Premultiplied, anti-aliased layers of B pictures, each in [0, 1].

    stack: (B, 7, H, W), in order: coverage; brightness where the caption's colour goes; brightness
    where the pattern's second colour goes; red, green and blue of the fixed parts, lit; brightness
    of everything, for untextured pictures.
    """

    stack: Float[Tensor, "B 7 H W"]

    def coloured(
        self,
        colour: Float[Tensor, "B 3"],
        second: Float[Tensor, "B 3"],
        background: Float[Tensor, "B 3"],
    ) -> Float[Tensor, "B 3 H W"]:
        """Pictures in the given colours, in [0, 1]."""
        alpha, main, other = self.stack[:, 0], self.stack[:, 1:2], self.stack[:, 2:3]
        lit = main * colour[:, :, None, None] + other * second[:, :, None, None] + self.stack[:, 3:6]
        return over(lit, alpha, background)

    def untextured(self, albedo: Float[Tensor, "B 3"], background: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 H W"]:
        """Pictures with every part in the same `albedo`: shape and light, nothing else."""
        return over(self.stack[:, 6:7] * albedo[:, :, None, None], self.stack[:, 0], background)


def trace(
    shape: Shape,
    variation: Float[Tensor, "B v"],
    pattern: Int[Tensor, " B"],
    cameras: Cameras,
    lights: Lights,
    size: int,
) -> Layers:
    """Trace one picture of `shape` per camera, size x size pixels.

    pattern: 0 for plain, otherwise 1 + the index into PATTERNS.
    """
    fine = size * SUPERSAMPLING
    origin, directions = cameras.rays(fine, fine)
    batch = len(origin)
    picture = torch.arange(batch, device=origin.device).repeat_interleave(fine * fine)
    points, hits = _march(shape, variation, origin[picture], directions.reshape(-1, 3), picture)
    picture = picture[hits]
    u = variation[picture]
    brightness = Lights(lights.direction[picture], lights.ambient[picture]).shade(normals(shape, points, u))
    values = torch.zeros(batch * fine * fine, 7, device=origin.device)
    values[hits] = _layers_at(shape, points, u, pattern[picture], brightness)
    stack = values.reshape(batch, fine, fine, 7).permute(0, 3, 1, 2)
    return Layers(torch.nn.functional.avg_pool2d(stack, SUPERSAMPLING))


def _march(
    shape: Shape, variation: Tensor, origin: Tensor, direction: Tensor, picture: Tensor
) -> tuple[Tensor, Tensor]:
    """Points where rays meet the surface, and the indices of those rays."""
    toward = (origin * direction).sum(-1)
    gap = toward.square() - origin.square().sum(-1) + 1
    ray = (gap > 0).nonzero()[:, 0]
    half = gap[ray].sqrt()
    near, far = -toward[ray] - half, -toward[ray] + half
    o, d, u, t = origin[ray], direction[ray], variation[picture[ray]], near
    found_points, found_rays = [], []
    for step in range(1, _STEPS + 1):
        distance = shape.distance(o + t[:, None] * d, u)
        hit = distance < _HIT
        t = torch.where(hit, t, t + _RELAXATION * distance)
        if step % _COMPACT_EVERY == 0 or step == _STEPS:
            found_points.append((o + t[:, None] * d)[hit])
            found_rays.append(ray[hit])
            going = ~hit & (t < far)
            o, d, u, t, far, ray = o[going], d[going], u[going], t[going], far[going], ray[going]
    return torch.cat(found_points), torch.cat(found_rays)


def normals(shape: Shape, p: Float[Tensor, "R 3"], u: Float[Tensor, "R v"]) -> Float[Tensor, "R 3"]:
    """Outward unit normals: the distance's gradient by differences over a small tetrahedron."""
    corners = p.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    gradient = sum(corner * shape.distance(p + 2e-3 * corner, u)[:, None] for corner in corners)
    return torch.nn.functional.normalize(gradient, dim=-1)


def _layers_at(shape: Shape, p: Tensor, u: Tensor, pattern: Tensor, brightness: Tensor) -> Tensor:
    """The seven layer values of each surface point."""
    parts = shape.parts(p, u)
    nearest = torch.stack([part.distance for part in parts]).argmin(0)
    named = p.new_tensor([part.colour is None for part in parts])[nearest]
    fixed = p.new_tensor([part.colour or (0.0, 0.0, 0.0) for part in parts])[nearest]
    second = torch.zeros_like(named)
    for index, is_second in enumerate(PATTERNS.values(), start=1):
        second = torch.where(pattern == index, is_second(p).to(named), second)
    shares = torch.stack([torch.ones_like(named), named * (1 - second), named * second], dim=-1)
    lit = torch.cat([shares[:, 1:], fixed, shares[:, :1]], dim=-1) * brightness[:, None]
    return torch.cat([shares[:, :1], lit], dim=-1)
