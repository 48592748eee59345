"""Distances against brute force: the nearest of many points on the true surface."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backend.prior import sdf


def box_surface(g: torch.Generator) -> Tensor:
    p = 2 * torch.rand(60_000, 3, generator=g) - 1
    axis = torch.randint(3, (len(p),), generator=g)
    p[torch.arange(len(p)), axis] = p[torch.arange(len(p)), axis].sign()
    return p * torch.tensor([0.3, 0.4, 0.5])


def sphere_surface(g: torch.Generator) -> Tensor:
    return 0.6 * torch.nn.functional.normalize(torch.randn(60_000, 3, generator=g), dim=-1)


def torus_surface(g: torch.Generator) -> Tensor:
    a, b = 2 * torch.pi * torch.rand(2, 60_000, generator=g)
    rho = 0.5 + 0.2 * b.cos()
    return torch.stack([rho * a.cos(), rho * a.sin(), 0.2 * b.sin()], dim=-1)


def cylinder_surface(g: torch.Generator) -> Tensor:
    angle = 2 * torch.pi * torch.rand(60_000, generator=g)
    s = 2 * torch.rand(60_000, generator=g) - 1
    side = torch.rand(60_000, generator=g) < 0.6
    rho = torch.where(side, 0.4, 0.4 * s.abs().sqrt())
    z = torch.where(side, 0.5 * s, 0.5 * s.sign())
    return torch.stack([rho * angle.cos(), rho * angle.sin(), z], dim=-1)


EXACT = [
    (lambda p: sdf.box(p, 0.3, 0.4, 0.5), box_surface),
    (lambda p: sdf.sphere(p, 0.6), sphere_surface),
    (lambda p: sdf.torus(p, 0.5, 0.2), torus_surface),
    (lambda p: sdf.cylinder(p, 0.4, 0.5), cylinder_surface),
]


@pytest.mark.parametrize(("distance", "surface"), EXACT)
def test_distance_is_that_to_the_nearest_surface_point(
    distance: Callable[[Tensor], Tensor], surface: Callable[[torch.Generator], Tensor], generator: torch.Generator
) -> None:
    p = 2 * torch.rand(300, 3, generator=generator) - 1
    nearest = torch.cdist(p, surface(generator)).amin(1)
    torch.testing.assert_close(distance(p).abs(), nearest, atol=0.015, rtol=0)


@pytest.mark.parametrize(
    "distance",
    [
        lambda p: sdf.cone(p, 0.5, 0.1, 0.4),
        lambda p: sdf.cone(p, 0.5, 0.0, 0.6),
        lambda p: sdf.box(p, 0.3, 0.4, 0.5, rounding=0.1),
        lambda p: sdf.blend(sdf.sphere(p, 0.4), sdf.sphere(sdf.at(p, x=0.4), 0.3), 0.2),
        lambda p: sdf.without(sdf.sphere(p, 0.6), sdf.box(p, 0.3, 0.3, 1.0)),
    ],
)
def test_no_step_of_the_returned_length_crosses_the_surface(
    distance: Callable[[Tensor], Tensor], generator: torch.Generator
) -> None:
    p = 2 * torch.rand(500, 3, generator=generator) - 1
    direction = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=-1)
    d = distance(p)
    after = distance(p + 0.99 * d.abs()[:, None] * direction)
    assert torch.all((after.sign() == d.sign()) | (after.abs() < 2e-3))


def test_cone_by_hand() -> None:
    # A cone of height 1 on a base of radius 0.5: the tip, the middle of the base, the rim.
    p = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, -0.5], [0.5, 0.0, -0.5], [0.0, 0.0, 1.5]])
    torch.testing.assert_close(sdf.cone(p, 0.5, 0.0, 0.5)[:3], torch.zeros(3), atol=1e-6, rtol=0)
    assert sdf.cone(p, 0.5, 0.0, 0.5)[3] == pytest.approx(1.0)


def test_ellipsoid_has_the_exact_sign_and_a_sphere_s_distance_when_round() -> None:
    p = torch.tensor([[0.9, 0.0, 0.0], [0.7, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert (sdf.ellipsoid(p, 0.8, 0.5, 0.2) > 0).tolist() == [True, False, False]
    torch.testing.assert_close(sdf.ellipsoid(p[:2], 0.6, 0.6, 0.6), sdf.sphere(p[:2], 0.6))


def test_moving_folding_and_turning() -> None:
    p = torch.tensor([[1.0, -2.0, 3.0]])
    assert sdf.at(p, x=1.0, z=1.0).tolist() == [[0.0, -2.0, 2.0]]
    assert sdf.mirrored(p, 1).tolist() == [[1.0, 2.0, 3.0]]
    assert sdf.turned(p, axis=0).tolist() == [[-2.0, 3.0, 1.0]]
    torch.testing.assert_close(sdf.tilted(torch.tensor([[0.0, 1.0, 0.0]]), torch.pi / 2)[0, 2], torch.tensor(1.0))
