"""Signed distances to simple solids, and ways to combine them.

Every function takes points `p` of shape (..., 3) and sizes that broadcast against (...,), floats or
tensors, and returns distances (...,): negative inside. None overestimates the distance to the
surface by more than a few per cent, so a ray may safely step by (nearly) what they return.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Size = float | Tensor


def at(p: Float[Tensor, "*n 3"], x: Size = 0.0, y: Size = 0.0, z: Size = 0.0) -> Float[Tensor, "*n 3"]:
    """The points as seen from a solid moved to (x, y, z)."""
    return torch.stack([p[..., 0] - x, p[..., 1] - y, p[..., 2] - z], dim=-1)


def mirrored(p: Float[Tensor, "*n 3"], *axes: int) -> Float[Tensor, "*n 3"]:
    """The points folded onto the positive side of each axis, so one solid stands for its mirror images too."""
    return torch.stack([p[..., i].abs() if i in axes else p[..., i] for i in range(3)], dim=-1)


def turned(p: Float[Tensor, "*n 3"], axis: int) -> Float[Tensor, "*n 3"]:
    """The points with `axis` brought to z by a cyclic swap, for solids that are described around z."""
    return torch.stack([p[..., (axis + 1) % 3], p[..., (axis + 2) % 3], p[..., axis]], dim=-1)


def tilted(p: Float[Tensor, "*n 3"], slope: Size) -> Float[Tensor, "*n 3"]:
    """The points as seen from a solid whose top leans towards +y by `slope` radians."""
    slope = torch.as_tensor(slope, dtype=p.dtype, device=p.device)
    c, s = torch.cos(slope), torch.sin(slope)
    return torch.stack([p[..., 0], c * p[..., 1] - s * p[..., 2], s * p[..., 1] + c * p[..., 2]], dim=-1)


def _length(*components: Tensor) -> Tensor:
    return torch.sqrt(sum((c * c for c in components[1:]), components[0] * components[0]))


def sphere(p: Float[Tensor, "*n 3"], radius: Size) -> Float[Tensor, "*n"]:
    """Sphere around the origin."""
    return _length(p[..., 0], p[..., 1], p[..., 2]) - radius


def ellipsoid(p: Float[Tensor, "*n 3"], x: Size, y: Size, z: Size) -> Float[Tensor, "*n"]:
    """Ellipsoid with the given half axes: first-order distance, exact in sign."""
    scaled = _length(p[..., 0] / x, p[..., 1] / y, p[..., 2] / z)
    slope = _length(p[..., 0] / (x * x), p[..., 1] / (y * y), p[..., 2] / (z * z))
    # Near the centre the slope vanishes; any negative number will do there.
    return scaled * (scaled - 1) / slope.clamp(min=1e-6)


def box(p: Float[Tensor, "*n 3"], x: Size, y: Size, z: Size, rounding: Size = 0.0) -> Float[Tensor, "*n"]:
    """Box with half sides x, y, z; edges rounded inwards by `rounding`."""
    qx = p[..., 0].abs() - (x - rounding)
    qy = p[..., 1].abs() - (y - rounding)
    qz = p[..., 2].abs() - (z - rounding)
    outside = _length(qx.clamp(min=0), qy.clamp(min=0), qz.clamp(min=0))
    inside = torch.maximum(qx, torch.maximum(qy, qz)).clamp(max=0)
    return outside + inside - rounding


def cylinder(p: Float[Tensor, "*n 3"], radius: Size, half: Size, rounding: Size = 0.0) -> Float[Tensor, "*n"]:
    """Cylinder around z with half height `half`."""
    q = _length(p[..., 0], p[..., 1]) - (radius - rounding)
    z = p[..., 2].abs() - (half - rounding)
    return _length(q.clamp(min=0), z.clamp(min=0)) + torch.maximum(q, z).clamp(max=0) - rounding


def cone(p: Float[Tensor, "*n 3"], bottom: Size, top: Size, half: Size) -> Float[Tensor, "*n"]:
    """Cone frustum around z, radius `bottom` at -half and `top` at +half."""
    rho, z = _length(p[..., 0], p[..., 1]), p[..., 2]
    bottom, top, half = (torch.as_tensor(v, dtype=p.dtype, device=p.device) for v in (bottom, top, half))
    slant = _length(2 * half, bottom - top)
    # Distance to the slanted side's line, and to the two lids; the nearer face decides inside, the
    # larger of the two is a lower bound outside.
    middle = (bottom + top) / 2 + z * (top - bottom) / (2 * half)
    return torch.maximum((rho - middle) * 2 * half / slant, z.abs() - half)


def torus(p: Float[Tensor, "*n 3"], ring: Size, tube: Size) -> Float[Tensor, "*n"]:
    """Torus around z: a tube around a circle of radius `ring`."""
    return _length(_length(p[..., 0], p[..., 1]) - ring, p[..., 2]) - tube


def union(*distances: Tensor) -> Tensor:
    """Points in any of the solids."""
    result = distances[0]
    for distance in distances[1:]:
        result = torch.minimum(result, distance)
    return result


def without(distance: Tensor, *removed: Tensor) -> Tensor:
    """Points in the first solid and in none of the others."""
    for other in removed:
        distance = torch.maximum(distance, -other)
    return distance


def blend(first: Tensor, second: Tensor, radius: float) -> Tensor:
    """Union with the crease filled over about `radius` (polynomial smooth minimum)."""
    gap = (radius - (first - second).abs()).clamp(min=0)
    return torch.minimum(first, second) - gap * gap / (4 * radius)
