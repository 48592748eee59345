"""Normals and colours of a fresh field, a soft grey ball: all normals look away from its middle."""

import pytest
import torch

from backend.engine.cameras import ring
from backend.engine.fields import VoxelField
from backend.engine.normals import normals_at, surface
from backend.engine.occupancy import Occupancy
from backend.engine.rendering import Rendering, render
from backend.engine.surface_terms import BESIDE, bending, patches

EVERYWHERE = Occupancy(torch.ones(8, 8, 8, dtype=torch.bool))
PIXELS = 12


def ball() -> VoxelField:
    return VoxelField(sizes=(4, 8))


def seen(field: VoxelField) -> Rendering:
    return render(field, ring(2, elevation_degrees=20), PIXELS, EVERYWHERE, 0.05)


def outwards(points: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(points, dim=-1)


def test_normals_look_outwards(generator: torch.Generator) -> None:
    points = 0.5 * outwards(torch.randn(50, 3, generator=generator))
    torch.testing.assert_close(normals_at(ball(), points), outwards(points), atol=0.05, rtol=0)


def test_bending_is_by_how_much_the_normals_beside_differ(generator: torch.Generator) -> None:
    field = ball()
    view = seen(field)
    found, aside = surface(field, view), torch.randn(len(view.directions), 3, generator=generator)
    points = view.samples.points[found.index]
    moved = points + BESIDE * aside[view.samples.ray[found.index]]
    turned = (outwards(moved) - outwards(points)).norm(dim=-1)
    expected = (view.weights[found.index] * turned).sum() / 2
    assert expected > 2
    assert bending(field, found, view, aside).item() == pytest.approx(expected.item(), rel=0.05)


def test_a_wavy_ball_bends_more_and_is_smoothed(generator: torch.Generator) -> None:
    def bent(field: VoxelField) -> torch.Tensor:
        view = seen(field)
        return bending(field, surface(field, view), view, aside)

    wavy, aside = ball(), torch.randn(2 * PIXELS**2, 3, generator=generator)
    with torch.no_grad():
        wavy.levels[1][:, 0].add_(torch.randn(8, 8, 8, generator=generator))
        smooth, before = bent(ball()), bent(wavy)
    assert before > 1.2 * smooth
    optimiser = torch.optim.Adam(wavy.parameters(), lr=0.05)
    for _ in range(20):
        optimiser.zero_grad()
        bent(wavy).backward()
        optimiser.step()
    assert bent(wavy) < (before + smooth) / 2


def test_one_colour_has_no_patches_and_spots_go(generator: torch.Generator) -> None:
    def spotted(field: VoxelField) -> torch.Tensor:
        view = seen(field)
        return patches(field.colour, surface(field, view), view, aside)

    field, aside = ball(), torch.randn(2 * PIXELS**2, 3, generator=generator)
    view = seen(field)
    visible = view.weights[surface(field, view).index].sum().item() / 2
    assert spotted(field).item() == pytest.approx(0.01 * visible, rel=1e-3)
    with torch.no_grad():
        field.levels[1][:, 1:].add_(4 * torch.randn(3, 8, 8, 8, generator=generator))
    before = spotted(field)
    assert before > 0.03 * visible
    before.backward()
    assert field.levels[1].grad is not None
    assert field.levels[1].grad[:, 1:].abs().max() > 0
    assert field.levels[1].grad[:, 0].abs().max() == 0  # what is seen is held fixed
