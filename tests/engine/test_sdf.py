"""The density of known distances, what a ball of it looks like, and that its distances are kept honest."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import laplace
from torch import Tensor

from backend.engine.cameras import Cameras, framing, ring
from backend.engine.fields import DistanceField, TrainableField, VoxelField
from backend.engine.normals import surface
from backend.engine.occupancy import Occupancy
from backend.engine.optimise import Progress, Resumption, optimise
from backend.engine.regularisers import Ramp, eikonal
from backend.engine.rendering import render
from backend.engine.sdf import METRES, RADIUS, SdfField, Sharpening, laplace_density
from backend.engine.settings import Regularisation, Settings, Shading
from backend.engine.shots import Prompts
from backend.guidance.interface import Guidance

EVERYWHERE = Occupancy(torch.ones(8, 8, 8, dtype=torch.bool))
SETTINGS = Settings(
    steps=6,
    views=2,
    spacing=0.1,
    occupancy_every=4,
    occupancy_resolution=8,
    shading=Shading(lambertian=0.5, begin=0.2),
    regularisation=Regularisation(
        opacity=Ramp(0.01, 0.01), orientation=Ramp(0.1, 0.1), bending=Ramp(0.1, 0.1), eikonal=Ramp(1.0, 1.0)
    ),
)


def small() -> SdfField:
    return SdfField(sizes=(5, 9))


def ball(beta: float) -> SdfField:
    """As new, but for its beta."""
    field = small()
    field.beta = beta
    return field


@pytest.mark.parametrize("beta", [0.25, 0.03, 1e-3])
def test_density_is_the_laplace_distribution_over_beta(beta: float) -> None:
    distance = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    expected = torch.from_numpy(laplace.cdf(-distance.numpy(), scale=beta)) / beta
    torch.testing.assert_close(laplace_density(distance, beta), expected)


def test_density_and_its_slope_by_hand() -> None:
    distance = torch.tensor([-100.0, -0.1, 0.1, 0.2, 100.0], requires_grad=True)
    density = laplace_density(distance, 0.1)
    tail = 5 / math.e
    torch.testing.assert_close(density, torch.tensor([10.0, 10 - tail, tail, tail / math.e, 0.0]))
    assert laplace_density(torch.zeros(1), 0.1).item() == pytest.approx(5)
    density.sum().backward()
    torch.testing.assert_close(distance.grad, torch.tensor([0.0, -10 * tail, -10 * tail, -10 * tail / math.e, 0.0]))


def test_a_fresh_field_is_a_ball_of_exact_distances(generator: torch.Generator) -> None:
    x = 2 * torch.rand(50, 3, generator=generator) - 1
    torch.testing.assert_close(small().distance(x), x.norm(dim=-1) - RADIUS)
    density, colour = small().density_and_colour(x)
    torch.testing.assert_close(density, laplace_density(x.norm(dim=-1) - RADIUS, 0.25))
    torch.testing.assert_close(small().density(x), density)
    torch.testing.assert_close(colour, torch.full((50, 3), 0.5))
    assert small().density(torch.zeros(1, 3)).isfinite().all()


def test_one_in_the_grid_is_a_decimetre(generator: torch.Generator) -> None:
    field, x = small(), 2 * torch.rand(50, 3, generator=generator) - 1
    before = field.distance(x)
    with torch.no_grad():
        field.levels[0][0, 0] = 1.0
    torch.testing.assert_close(field.distance(x) - before, torch.full((50,), METRES))


def optical_depth(nearest: float, beta: float) -> float:
    """Of a ray that passes the middle of the ball at a distance, through the unit sphere."""
    half = math.sqrt(1 - nearest**2)

    def density(along: float) -> float:
        return float(laplace.cdf(RADIUS - math.hypot(nearest, along), scale=beta)) / beta

    return 2 * quad(density, 0, half, limit=200)[0]


@pytest.mark.parametrize("beta", [0.25, 0.03])
def test_a_ball_has_the_opacity_and_the_outline_of_its_distance(beta: float) -> None:
    cameras = Cameras(*(column.double() for column in ring(1, 20).columns))
    view = render(ball(beta).double(), cameras, 20, EVERYWHERE, 0.002)
    origins, directions = cameras.rays(20, 20)
    nearest = torch.linalg.cross(origins[:, None, None].expand_as(directions), directions).norm(dim=-1)
    expected = torch.tensor([-math.expm1(-optical_depth(b, beta)) if b < 1 else 0.0 for b in nearest.flatten()])
    torch.testing.assert_close(view.opacity.flatten().float(), expected, atol=0.01, rtol=0)
    assert 20 < (view.opacity > 0.5).sum() < 200


def test_through_the_middle_a_fresh_ball_is_as_opaque_as_the_blob_of_voxels() -> None:
    # Half of the matter lost inside is outside: 2 r / beta = 4 along the diameter.
    camera = framing(*(torch.tensor([v], dtype=torch.float64) for v in (0.0, 0.0, math.radians(40), 1.1)))
    opacities = [render(f.double(), camera, 1, EVERYWHERE, 0.005).opacity.item() for f in (small(), VoxelField())]
    assert opacities[0] == pytest.approx(1 - math.exp(-4), abs=1e-4)
    assert opacities[1] == pytest.approx(opacities[0], abs=0.01)


def test_beta_falls_by_equal_factors_and_then_stays() -> None:
    sharpening = Sharpening(first=0.16, last=0.01, until=0.5)
    betas = [sharpening.beta(progress) for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert betas == pytest.approx([0.16, 0.08, 0.04, 0.01, 0.01])
    field = SdfField(sharpening=sharpening)
    assert field.beta == pytest.approx(0.16)
    field.refine(0.25)
    assert field.beta == pytest.approx(0.04)


@pytest.mark.parametrize("wrong", [{"first": 0.01}, {"last": 0.0}, {"until": 0.0}, {"until": 1.5}])
def test_a_beta_that_does_not_fall_within_the_run_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="beta falls"):
        Sharpening(**wrong)


def test_the_eikonal_term_by_hand() -> None:
    slopes = torch.tensor([[0.0, 0.6, 0.8], [0.0, -3.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    assert eikonal(slopes[:1]).item() == pytest.approx(0)
    assert eikonal(slopes).item() == pytest.approx((4 + 1) / 3)
    eikonal(slopes[:2]).backward()
    torch.testing.assert_close(slopes.grad[1], torch.tensor([0.0, -2.0, 0.0]))


def test_exact_distances_have_no_eikonal_term(generator: torch.Generator) -> None:
    # But for the few points so near to the middle, where the distance has a kink, that a difference spans it.
    slopes = small().slopes(generator)
    assert eikonal(slopes) < 1e-3
    assert (slopes.norm(dim=-1) - 1).abs().median() < 1e-3


def test_slopes_are_those_of_the_distance(generator: torch.Generator) -> None:
    field, state = small(), generator.get_state()
    ball_alone = field.slopes(generator)
    with torch.no_grad():  # two metres per metre in z, where the ball's own is one
        field.levels[0][0, 0] = torch.linspace(-1, 1, 5)[:, None, None] / METRES
    inside = field.slopes(generator.set_state(state)) - ball_alone
    # Beyond the cube the grid is constant, which the points next to its faces see.
    assert (inside - torch.tensor([0.0, 0.0, 1.0])).norm(dim=-1).median() < 1e-4
    assert eikonal(field.slopes(generator)) > 0.3


def test_normals_are_those_of_the_ball() -> None:
    field = ball(0.03)
    seen = render(field, ring(3, 20), 16, EVERYWHERE, 0.02)
    normals = surface(field, seen)
    outward = torch.nn.functional.normalize(seen.samples.points[normals.index], dim=-1)
    assert len(outward) > 500
    assert (normals.normals * outward).sum(-1).min() > 0.998


def last(steps: Any) -> Progress:
    *_, final = steps
    return final


def test_only_distances_are_asked_to_be_distances(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    assert isinstance(small(), DistanceField)
    assert not isinstance(VoxelField(), DistanceField)
    for field, asked in ((small(), True), (VoxelField(sizes=(5,)), False)):
        assert isinstance(field, TrainableField)
        losses = last(optimise(field, gaussian((0.5,) * 3), no_prompts, SETTINGS, seed=0)).losses
        assert ("eikonal" in losses) == asked


def test_the_eikonal_term_makes_distances_of_what_is_none(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    def unevenness(weight: float) -> float:
        field = small()
        with torch.no_grad():
            field.levels[0][0, 0] = 3 * torch.randn(5, 5, 5, generator=torch.Generator().manual_seed(1))
        asked = replace(SETTINGS, steps=40, regularisation=Regularisation(eikonal=Ramp(weight, weight)))
        last(optimise(field, gaussian((0.5,) * 3), no_prompts, asked, seed=0))
        return eikonal(field.slopes(torch.Generator().manual_seed(2))).item()

    assert unevenness(1e4) < 0.5 * unevenness(0.0)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, stop: int
) -> None:
    arguments = (gaussian((0.9, 0.2, 0.2)), no_prompts, SETTINGS, 3)
    states = {progress.step: progress.state() for progress in optimise(small(), *arguments)}
    field = small()
    resumed = last(optimise(field, *arguments, Resumption(stop, states[stop]))).state()
    assert states[6].keys() == resumed.keys()
    assert all(torch.equal(states[6][name], resumed[name]) for name in resumed)
    assert field.beta == Sharpening().beta(5 / 6)


def test_a_field_that_was_finished_is_as_sharp_when_it_is_loaded(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    field, again = small(), small()
    end = last(optimise(field, gaussian((0.9, 0.2, 0.2)), no_prompts, SETTINGS, 3)).state()
    assert not list(optimise(again, gaussian((0.9, 0.2, 0.2)), no_prompts, SETTINGS, 3, Resumption(6, end)))
    x: Tensor = 2 * torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) - 1
    assert torch.equal(field.density(x), again.density(x))
