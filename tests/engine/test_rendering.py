"""The renderer against loops over rays and samples, against closed forms, and at its limits."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from backend.engine import rendering
from backend.engine.cameras import Cameras, framing, ring
from backend.engine.fields import Field, VoxelField
from backend.engine.rendering import Occupancy, march, render, render_weights, stratified

EVERYWHERE = Occupancy(torch.ones(8, 8, 8, dtype=torch.bool))
RED = (0.9, 0.2, 0.1)


@dataclass(frozen=True)
class Ball:
    """A homogeneous ball of constant colour in empty space."""

    density_inside: float
    radius: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    paint: tuple[float, ...] = RED

    def density(self, x: Tensor) -> Tensor:
        return self.density_inside * ((x - x.new_tensor(self.centre)).norm(dim=-1) < self.radius).to(x.dtype)

    def colour(self, x: Tensor) -> Tensor:
        return x.new_tensor(self.paint).expand(len(x), -1)

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(x), self.colour(x)


@dataclass(frozen=True)
class Fog:
    """Density 3 (1 - |x|^2), and colours that differ everywhere."""

    def density(self, x: Tensor) -> Tensor:
        return 3 * (1 - x.square().sum(-1)).clamp(min=0)

    def colour(self, x: Tensor) -> Tensor:
        return torch.sigmoid(torch.stack([3 * x[:, 0], x[:, 1] * x[:, 2], x[:, 2] - x[:, 0]], dim=-1))

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(x), self.colour(x)


@dataclass(frozen=True)
class Turned:
    """A field turned counter-clockwise about z, seen from above."""

    field: Field
    angle: float

    def density(self, x: Tensor) -> Tensor:
        return self.density_and_colour(x)[0]

    def colour(self, x: Tensor) -> Tensor:
        return self.density_and_colour(x)[1]

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        back = x.new_tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return self.field.density_and_colour(x @ back.T)


def camera(azimuth: float = 0.0, elevation: float = 0.0) -> Cameras:
    values = (azimuth, elevation, math.radians(40), 1.1)
    return framing(*(torch.tensor([v], dtype=torch.float64) for v in values))


def weights_by_loops(density: Tensor, ray: Tensor, step: float) -> Tensor:
    weights, light = [], {}
    for sigma, owner in zip(density.tolist(), ray.tolist(), strict=True):
        passed = light.get(owner, 1.0)
        weights.append(passed * (1 - math.exp(-sigma * step)))
        light[owner] = passed * math.exp(-sigma * step)
    return torch.tensor(weights, dtype=torch.float64)


def packed(generator: torch.Generator, rays: int = 30, most: int = 12) -> tuple[Tensor, Tensor]:
    """Densities over several orders of magnitude, and the ray of each; some rays have no samples."""
    counts = torch.randint(0, most, (rays,), generator=generator)
    ray = torch.repeat_interleave(torch.arange(rays), counts)
    exponent = 6 * torch.rand(len(ray), generator=generator, dtype=torch.float64) - 3
    return 10**exponent, ray


def test_weights_by_brute_force(generator: torch.Generator) -> None:
    density, ray = packed(generator)
    expected = weights_by_loops(density, ray, 0.05)
    torch.testing.assert_close(render_weights(density, ray, 0.05), expected, atol=1e-12, rtol=1e-9)
    single = render_weights(density.float(), ray, 0.05)
    torch.testing.assert_close(single, expected.float(), atol=1e-7, rtol=1e-5)


def test_weights_by_hand() -> None:
    # Every sample lets half of the light through; the second ray starts anew.
    density = torch.full((5,), math.log(2) / 0.1)
    weights = render_weights(density, torch.tensor([0, 0, 0, 4, 4]), 0.1)
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.25, 0.125, 0.5, 0.25]))


def test_empty_space_sends_nothing_and_a_wall_hides_what_is_behind() -> None:
    ray = torch.zeros(4, dtype=torch.long)
    assert render_weights(torch.zeros(4), ray, 0.1).tolist() == [0, 0, 0, 0]
    assert render_weights(torch.tensor([0.0, 1e10, 5.0, 1e10]), ray, 0.1).tolist() == [0, 1, 0, 0]
    assert render_weights(torch.empty(0), ray[:0], 0.1).shape == (0,)


def test_weights_are_shares_and_sum_to_the_opacity(generator: torch.Generator) -> None:
    density, ray = packed(generator)
    weights = render_weights(density.float(), ray, 0.05)
    assert weights.min() >= 0
    sums = torch.zeros(30).index_add(0, ray, weights)
    thickness = torch.zeros(30, dtype=torch.float64).index_add(0, ray, density * 0.05)
    assert sums.max() <= 1 + 1e-6
    torch.testing.assert_close(sums, -torch.expm1(-thickness).float(), atol=1e-6, rtol=1e-5)


def test_more_density_anywhere_means_more_opacity_and_less_light_behind(generator: torch.Generator) -> None:
    density = torch.rand(10, generator=generator, dtype=torch.float64) * 5
    ray = torch.zeros(10, dtype=torch.long)
    before = render_weights(density, ray, 0.1)
    for i in range(10):
        more = density.clone()
        more[i] += 1
        after = render_weights(more, ray, 0.1)
        assert after.sum() > before.sum()
        assert after[i] > before[i]
        torch.testing.assert_close(after[:i], before[:i])
        assert (after[i + 1 :] < before[i + 1 :]).all()


def test_values_and_gradients_are_finite_from_1e_minus_30_to_1e_10() -> None:
    powers = 10.0 ** torch.arange(-30, 11, dtype=torch.float32)
    alone = (powers.clone(), torch.arange(len(powers)))
    rising = (powers.clone(), torch.zeros(len(powers), dtype=torch.long))
    falling = (powers.flip(0), torch.zeros(len(powers), dtype=torch.long))
    for density, ray in (alone, rising, falling):
        density.requires_grad_()
        weights = render_weights(density, ray, 0.05)
        assert weights.isfinite().all()
        (weights * torch.linspace(-1, 1, len(weights))).sum().backward()
        assert density.grad is not None
        assert density.grad.isfinite().all()
    # A single thin sample is linear: neither weight nor slope is lost to rounding.
    weights = render_weights(powers[:20], torch.arange(20), 0.05)
    torch.testing.assert_close(weights, powers[:20] * 0.05, atol=0, rtol=1e-6)


def test_a_ray_does_not_feel_the_solid_rays_before_it(generator: torch.Generator) -> None:
    thin = torch.rand(20, generator=generator) * 0.1
    solid = torch.full((100_000,), 1e4)
    ray = torch.cat([torch.arange(100_000) // 40, torch.full((20,), 5000)])
    alone = render_weights(thin, torch.zeros(20, dtype=torch.long), 0.05)
    after = render_weights(torch.cat([solid, thin]), ray, 0.05)[-20:]
    torch.testing.assert_close(after, alone, atol=1e-8, rtol=1e-6)


def test_gradients_of_the_weights_against_finite_differences(generator: torch.Generator) -> None:
    density, ray = packed(generator, rays=6, most=5)
    density = (density.log10() + 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: render_weights(d, ray, 0.1), density)


def test_rays_do_not_depend_on_their_order(generator: torch.Generator) -> None:
    density, ray = packed(generator, rays=5)
    forward = render_weights(density, ray, 0.05)
    blocks = [(ray == r).nonzero()[:, 0] for r in (3, 0, 4, 1, 2)]
    order = torch.cat(blocks)
    renamed = torch.cat([torch.full((len(block),), i) for i, block in enumerate(blocks)])
    torch.testing.assert_close(render_weights(density[order], renamed, 0.05), forward[order])


def rays(generator: torch.Generator, count: int = 60) -> tuple[Tensor, Tensor]:
    """Rays from outside the sphere, towards a cube around it: some miss."""
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1) * 3
    targets = 2.4 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1.2
    return origins, torch.nn.functional.normalize(targets - origins, dim=-1)


def march_by_loops(
    origins: Tensor, directions: Tensor, cells: Tensor, step: float, offset: Tensor
) -> list[tuple[int, float]]:
    found = []
    size = len(cells)
    for r, (o, d) in enumerate(zip(origins.tolist(), directions.tolist(), strict=True)):
        toward = sum(a * b for a, b in zip(o, d, strict=True))
        gap = toward**2 - sum(a * a for a in o) + 1
        if gap <= 0:
            continue
        t = -toward - math.sqrt(gap) + offset[r].item() * step
        while t < -toward + math.sqrt(gap):
            point = [a + t * b for a, b in zip(o, d, strict=True)]
            x, y, z = (min(size - 1, max(0, int((v + 1) * size / 2))) for v in point)
            if cells[x, y, z]:
                found.append((r, t))
            t += step
    return found


@pytest.mark.parametrize("step", [0.05, 0.13, 0.7, 2.5])
def test_march_by_brute_force(step: float, generator: torch.Generator) -> None:
    origins, directions = rays(generator)
    cells = torch.rand(6, 6, 6, generator=generator) < 0.5
    offset = torch.rand(60, generator=generator, dtype=torch.float64)
    samples = march(origins, directions, Occupancy(cells), step, offset)
    expected = march_by_loops(origins, directions, cells, step, offset)
    assert samples.ray.tolist() == [r for r, _ in expected]
    assert samples.distance.tolist() == pytest.approx([t for _, t in expected], abs=1e-9)
    points = origins[samples.ray] + samples.distance[:, None] * directions[samples.ray]
    torch.testing.assert_close(samples.points, points, atol=1e-9, rtol=0)


def test_marched_samples_are_ordered_evenly_spaced_and_inside_the_sphere(generator: torch.Generator) -> None:
    origins, directions = rays(generator)
    offset = torch.rand(60, generator=generator, dtype=torch.float64)
    samples = march(origins, directions, EVERYWHERE, 0.05, offset)
    assert samples.points.norm(dim=-1).max() <= 1 + 1e-9
    turn = samples.ray.diff()
    assert turn.min() >= 0
    gaps = samples.distance.diff()[turn == 0]
    torch.testing.assert_close(gaps, torch.full_like(gaps, 0.05), atol=1e-9, rtol=0)
    first = torch.cat([torch.tensor([True]), turn > 0])
    entry = samples.distance[first] - offset[samples.ray[first]] * 0.05
    starts = origins[samples.ray[first]] + entry[:, None] * directions[samples.ray[first]]
    torch.testing.assert_close(starts.norm(dim=-1), torch.ones(len(starts), dtype=torch.float64))


def test_rays_that_miss_the_sphere_or_touch_it_have_no_samples() -> None:
    origins = torch.tensor([[1.5, -3.0, 0.0], [1.0, -3.0, 0.0], [0.999, -3.0, 0.0]])
    ahead = torch.tensor([[0.0, 1.0, 0.0]]).expand(3, 3)
    samples = march(origins, ahead, EVERYWHERE, 0.01, torch.full((3,), 0.5))
    assert set(samples.ray.tolist()) == {2}
    # The chord is 2 sqrt(1 - 0.999^2) = 0.0894 long: 9 samples of 0.01 start in it.
    assert len(samples.ray) == 9
    assert len(march(origins[:2], ahead[:2], EVERYWHERE, 0.01, torch.full((2,), 0.5)).ray) == 0


@pytest.mark.parametrize("density", [0.3, 3.0, 30.0])
def test_a_homogeneous_ball_is_as_opaque_as_its_diameter(density: float) -> None:
    # One pixel, so the ray runs through the middle: 1.0 metre of the ball, exactly 100 samples.
    view = render(Ball(density, 0.5), camera(), 1, EVERYWHERE, 0.01)
    opacity = 1 - math.exp(-density * 1.0)
    assert view.opacity.item() == pytest.approx(opacity, abs=1e-6)
    torch.testing.assert_close(view.colour[0, :, 0, 0], opacity * torch.tensor(RED, dtype=torch.float64))
    # Integral of (d - 0.5 + u) s exp(-s u) over u in [0, 1]; a sample's middle is off by up to half a step.
    distance = camera().distance.item()
    depth = (distance - 0.5) * opacity + (1 - math.exp(-density) * (1 + density)) / density
    assert view.depth.item() == pytest.approx(depth, abs=0.005)


def test_samples_are_centred_in_their_strata_without_a_generator() -> None:
    samples = render(Fog(), camera(), 1, EVERYWHERE, 0.4).samples
    expected = camera().distance + torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8], dtype=torch.float64)
    torch.testing.assert_close(samples.distance, expected, atol=1e-6, rtol=0)


def test_opacity_of_a_ball_falls_with_the_chord_towards_its_rim() -> None:
    cameras, size, radius, density = camera(), 24, 0.8, 2.0
    view = render(Ball(density, radius), cameras, size, EVERYWHERE, 0.005)
    origins, directions = cameras.rays(size, size)
    toward = (origins[:, None, None] * directions).sum(-1)
    gap = radius**2 - (origins.square().sum(-1)[:, None, None] - toward.square())
    expected = -torch.expm1(-density * 2 * gap.clamp(min=0).sqrt())
    # The samples that a chord holds differ from its length by at most one.
    torch.testing.assert_close(view.opacity, expected, atol=density * 0.005 * 1.01, rtol=0)
    torch.testing.assert_close(view.colour[:, 0], view.opacity * RED[0], atol=1e-6, rtol=0)
    assert view.opacity[0, 0, 0] == 0


def test_latents_are_rendered_as_they_are() -> None:
    view = render(Ball(1e6, 0.5, paint=(-3.0, 0.0, 2.0, 7.0)), camera(), 1, EVERYWHERE, 0.05)
    assert view.colour.flatten().tolist() == pytest.approx([-3, 0, 2, 7])


def test_skipping_empty_cells_changes_nothing() -> None:
    ball = Ball(4.0, 0.45, centre=(0.2, -0.1, 0.15))
    cameras = ring(3, elevation_degrees=25)
    skipping = Occupancy.of(ball, 16, 1e-3, torch.device("cpu"))
    assert skipping.share < 0.25
    everything = render(ball, cameras, 20, EVERYWHERE, 0.03)
    less = render(ball, cameras, 20, skipping, 0.03)
    assert len(less.weights) < 0.5 * len(everything.weights)
    for name in ("colour", "opacity", "depth"):
        torch.testing.assert_close(getattr(less, name), getattr(everything, name), atol=1e-6, rtol=0)


def test_nothing_to_see_is_a_black_picture_that_can_be_differentiated() -> None:
    field = VoxelField(sizes=(4,))
    nowhere = Occupancy(torch.zeros(8, 8, 8, dtype=torch.bool))
    view = render(field, ring(2, elevation_degrees=0), 5, nowhere, 0.1)
    assert view.colour.shape == (2, 3, 5, 5)
    assert view.colour.abs().max() == view.opacity.max() == view.depth.max() == 0
    (view.colour.sum() + view.opacity.sum()).backward()
    assert field.levels[0].grad is not None
    assert field.levels[0].grad.abs().max() == 0


def test_pictures_stand_upright_and_are_not_mirrored() -> None:
    for centre, row, column in (((0.6, 0.0, 0.0), 10, 16), ((0.0, 0.0, 0.6), 4, 10), ((0.0, 0.6, 0.0), 10, 10)):
        seen = render(Ball(50.0, 0.2, centre), camera(), 21, EVERYWHERE, 0.02).opacity[0]
        middle = (seen.nonzero().float().mean(0)).tolist()
        assert middle == pytest.approx([row, column], abs=1.0)


def test_what_is_in_front_hides_what_is_behind() -> None:
    @dataclass(frozen=True)
    class Pair:
        """A red ball at y = -0.5, a blue one at y = +0.5."""

        def density(self, x: Tensor) -> Tensor:
            return 500 * ((x.abs() - x.new_tensor([0.0, 0.5, 0.0])).norm(dim=-1) < 0.3).to(x.dtype)

        def colour(self, x: Tensor) -> Tensor:
            return torch.where(x[:, 1:2] < 0, x.new_tensor([1.0, 0.0, 0.0]), x.new_tensor([0.0, 0.0, 1.0]))

        def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.density(x), self.colour(x)

    for azimuth, colour in ((0.0, [1, 0, 0]), (math.pi, [0, 0, 1])):
        view = render(Pair(), camera(azimuth), 1, EVERYWHERE, 0.02)
        assert view.colour.flatten().tolist() == pytest.approx(colour, abs=1e-4)


@pytest.mark.parametrize("angle", [0.4, math.pi / 2, -2.5])
def test_a_turned_field_seen_from_turned_cameras_looks_the_same(angle: float) -> None:
    cameras = Cameras(*(v.double() for v in vars(ring(3, elevation_degrees=20)).values()))
    turned = replace(cameras, azimuth=cameras.azimuth + angle)
    still = render(Fog(), cameras, 9, EVERYWHERE, 0.04)
    moved = render(Turned(Fog(), angle), turned, 9, EVERYWHERE, 0.04)
    for name in ("colour", "opacity", "depth"):
        torch.testing.assert_close(getattr(moved, name), getattr(still, name), atol=1e-6, rtol=0)
    assert (still.colour[0] - still.colour[1]).abs().max() > 0.1


def test_views_of_a_batch_do_not_depend_on_each_other() -> None:
    cameras = ring(3, elevation_degrees=20)
    together = render(Fog(), cameras, 8, EVERYWHERE, 0.05)
    for i in range(3):
        alone = render(Fog(), Cameras(*(v[i : i + 1] for v in vars(cameras).values())), 8, EVERYWHERE, 0.05)
        torch.testing.assert_close(together.colour[i : i + 1], alone.colour, atol=1e-6, rtol=0)
        torch.testing.assert_close(together.depth[i : i + 1], alone.depth, atol=1e-5, rtol=0)


def test_stratified_samples_measure_thickness_without_bias(generator: torch.Generator) -> None:
    # 64 x 64 rays through the middle, in effect, each with an offset of its own. The thickness of Fog along
    # them is the integral of 3 (1 - u^2) over [-1, 1], which is 4; 6.67 strata of 0.3 fit, the last one is cut.
    cameras = replace(camera(), fov=torch.tensor([1e-4], dtype=torch.float64))
    opacity = render(Fog(), cameras, 64, EVERYWHERE, 0.3, stratified(len(cameras.azimuth), 64, generator)).opacity
    thickness = -torch.log1p(-opacity)
    error = (thickness.std() / 64).item()
    assert 1e-4 < error < 0.01
    assert thickness.mean().item() == pytest.approx(4, abs=4 * error)
    centred = -torch.log1p(-render(Fog(), cameras, 2, EVERYWHERE, 0.01).opacity)
    torch.testing.assert_close(centred, torch.full_like(centred, 4), atol=1e-3, rtol=0)


def test_stratified_pictures_come_from_the_generator_alone() -> None:
    pictures = [
        render(Fog(), ring(1, 0), 8, EVERYWHERE, 0.2, stratified(1, 8, torch.Generator().manual_seed(seed))).colour
        for seed in (1, 1, 2)
    ]
    torch.testing.assert_close(pictures[0], pictures[1], atol=0, rtol=0)
    assert (pictures[0] - pictures[2]).abs().max() > 1e-4


def test_gradients_of_a_picture_against_finite_differences(generator: torch.Generator) -> None:
    field = VoxelField(sizes=(3,)).double()
    grid = torch.randn(field.grid().shape, generator=generator, dtype=torch.float64).mul(0.5).sub(2).requires_grad_()

    class Module(torch.nn.Module):
        """The picture as a function of the grid's values."""

        def __init__(self) -> None:
            super().__init__()
            self.field = field

        def forward(self) -> tuple[Tensor, Tensor, Tensor]:
            view = render(self.field, camera(0.3, 0.2), 2, EVERYWHERE, 0.4)
            return view.colour, view.opacity, view.depth

    picture = Module()
    assert torch.autograd.gradcheck(lambda g: torch.func.functional_call(picture, {"field.levels.0": g}, ()), grid)


def test_opacity_of_a_picture_grows_with_the_density_of_the_field() -> None:
    views = [render(Ball(s, 0.6), ring(1, 0), 12, EVERYWHERE, 0.05).opacity for s in (0.0, 0.5, 2.0, 1e3, 1e10)]
    assert views[0].max() == 0
    assert all((b >= a).all() for a, b in pairwise(views))
    assert views[-1].max() <= 1 + 1e-6


class Counting(Fog):
    """Fog that remembers how many points it was asked for at once, at most."""

    most = 0

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        object.__setattr__(self, "most", max(self.most, len(x)))
        return super().density_and_colour(x)


def test_without_a_gradient_points_are_looked_up_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a whole picture, what a hash grid takes is gigabytes."""
    monkeypatch.setattr(rendering, "POINTS_AT_ONCE", 1000)
    whole, some = Counting(), Counting()
    together = render(whole, camera(), 16, EVERYWHERE, 0.05)
    with torch.no_grad():
        parted = render(some, camera(), 16, EVERYWHERE, 0.05)
    assert whole.most == len(together.samples.ray) > 3000
    assert some.most == 1000
    assert torch.allclose(parted.colour, together.colour)
