"""The voxel field against functions that interpolation reproduces, and what every field starts from."""

import math

import pytest
import torch
from torch import Tensor

from backend.engine.fields import DENSITY_SCALE, Blob, VoxelField, activated_colour, activated_density, smoothed
from backend.engine.regularisers import Ramp


def voxels(*sizes: int, channels: int = 4) -> VoxelField:
    """A field of one size or several, a latent one by default: its colour is the bare interpolation."""
    return VoxelField(channels, sizes)


def fill(field: VoxelField, values: Tensor) -> VoxelField:
    with torch.no_grad():
        field.levels[0].copy_(values)
    return field


def points(size: int) -> Tensor:
    """Grid points in the order of the grid's axes z, y, x, as (x, y, z)."""
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


SLOPES = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [-1.0, 1.0, 0.25]])
OFFSETS = torch.tensor([0.1, -0.2, 0.3, 0.0, 1.0])


def linear(size: int) -> VoxelField:
    """Raw density and four latent channels that are linear in x, y, z."""
    values = points(size) @ SLOPES.T + OFFSETS
    return fill(voxels(size), values.permute(3, 0, 1, 2)[None])


@pytest.mark.parametrize("size", [2, 7, 32])
def test_linear_functions_come_back_exactly(size: int, generator: torch.Generator) -> None:
    field = linear(size)
    x = torch.rand(101, 3, generator=generator) * 2 - 1
    expected = x @ SLOPES.T + OFFSETS
    torch.testing.assert_close(field.colour(x), expected[:, 1:], atol=1e-5, rtol=0)
    density = activated_density(expected[:, 0] + field.blob(x))
    torch.testing.assert_close(field.density(x), density, atol=1e-3, rtol=1e-5)


def test_a_point_of_the_grid_shares_its_value_with_its_neighbours() -> None:
    values = torch.zeros(1, 5, 5, 5, 5)
    values[0, 1, 2, 2, 2] = 64.0
    found = fill(voxels(5), values).colour(points(5).flatten(0, 2))[:, 0].view(5, 5, 5)
    share = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0])
    torch.testing.assert_close(found, share[:, None, None] * share[:, None] * share)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_slopes_go_through_the_smoothing_as_numbers_do(size: int, generator: torch.Generator) -> None:
    grid = torch.randn(1, 2, size, size, size, generator=generator, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(smoothed, grid)
    assert torch.autograd.gradgradcheck(smoothed, grid)


def test_a_cell_by_hand() -> None:
    # Corner (x, y, z) = (1, -1, -1) holds 8, all others 0; weights 0.75 * 0.5 * 0.25 at (0.5, 0, 0.5).
    values = torch.zeros(1, 5, 2, 2, 2)
    values[0, 1, 0, 0, 1] = 8.0
    found = fill(voxels(2), values).colour(torch.tensor([[0.5, 0.0, 0.5]]))
    torch.testing.assert_close(found[0, 0], torch.tensor(0.75))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 64, 65])
def test_any_number_of_points_is_taken_each_on_its_own(count: int, generator: torch.Generator) -> None:
    field = fill(voxels(5, channels=3), torch.randn(1, 4, 5, 5, 5, generator=generator))
    x = torch.rand(count, 3, generator=generator) * 2 - 1
    density, colour = field.density_and_colour(x)
    assert density.shape == (count,)
    assert colour.shape == (count, 3)
    for i in range(min(count, 8)):
        alone = field.density_and_colour(x[i : i + 1])
        torch.testing.assert_close(density[i : i + 1], alone[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(colour[i : i + 1], alone[1], atol=1e-5, rtol=0)
    (density.sum() + colour.sum()).backward()
    assert field.levels[0].grad is not None
    assert (field.levels[0].grad.abs().sum() > 0) == (count > 0)


def test_density_and_colour_together_are_those_alone(generator: torch.Generator) -> None:
    field = fill(voxels(5, channels=3), torch.randn(1, 4, 5, 5, 5, generator=generator))
    x = torch.rand(33, 3, generator=generator) * 2 - 1
    density, colour = field.density_and_colour(x)
    torch.testing.assert_close(field.density(x), density)
    torch.testing.assert_close(field.colour(x), colour)


def test_the_grid_is_constant_beyond_the_cube(generator: torch.Generator) -> None:
    field = fill(voxels(4), torch.randn(1, 5, 4, 4, 4, generator=generator))
    outside = torch.tensor([[1.7, 0.3, -0.2], [-4.0, 9.0, 0.1], [1.0001, -1.0001, 2.0]])
    torch.testing.assert_close(field.colour(outside), field.colour(outside.clamp(-1, 1)))


def test_a_point_moves_the_corners_around_it_and_their_neighbours_alone() -> None:
    field = voxels(9)
    field.colour(torch.tensor([[0.1, -0.6, 0.7]])).sum().backward()
    assert field.levels[0].grad is not None
    moved = field.levels[0].grad[0, 1].nonzero()
    # Cells are 0.25 wide from -1 on: x in cell 4, y in cell 1, z in cell 6. Those at the end of an axis have their own.
    assert moved.tolist() == [[z, y, x] for z in (5, 6, 7, 8) for y in (0, 1, 2, 3) for x in (3, 4, 5, 6)]
    assert field.levels[0].grad[0, 1].sum().item() == pytest.approx(1)


def test_a_finer_grid_adds_to_what_a_coarser_one_says(generator: torch.Generator) -> None:
    field = voxels(5, 9)
    coarse = torch.randn(5, generator=generator)
    with torch.no_grad():
        field.levels[0].copy_(coarse[None, :, None, None, None].expand_as(field.levels[0]))
        field.levels[1][0, 1, 0, 0, 0] = 8.0
    # Cells of the finer grid are 0.25 wide.
    found = field.colour(torch.tensor([[-1.0, -1.0, -1.0], [-0.875, -1.0, -1.0], [-0.5, -1.0, -1.0]]))
    torch.testing.assert_close(found[:, 1:], coarse[2:].expand(3, -1))
    torch.testing.assert_close(found[:, 0] - coarse[1], torch.tensor([8.0, 5.0, 0.0]))


def test_all_parameters_are_in_one_group_at_the_usual_pace() -> None:
    field = voxels(3, 5)
    ((parameters, rate),) = field.parameter_groups()
    assert rate == 1
    assert [id(p) for p in parameters] == [id(p) for p in field.parameters()]


def test_the_blob_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.4, 0.0], [0.0, -0.25, 0.0], [0.0, 0.0, 1.0]], requires_grad=True)
    raw = Blob(centre=4.0, slope=8.0)(x)
    torch.testing.assert_close(raw, torch.tensor([4.0, 0.0, 2.0, -4.0]))
    raw.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    torch.testing.assert_close(x.grad[3], torch.tensor([0.0, 0.0, -8.0]))


@pytest.mark.parametrize("channels", [3, 4])
def test_a_fresh_field_is_a_grey_blob(channels: int) -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    density, colour = VoxelField(channels, blob=Blob(2.0, 4.0)).density_and_colour(x)
    expected = [DENSITY_SCALE * math.log1p(math.exp(2)), DENSITY_SCALE * math.log(2)]
    torch.testing.assert_close(density, torch.tensor(expected))
    torch.testing.assert_close(colour, torch.full((2, channels), 0.5 if channels == 3 else 0.0))


def test_density_is_positive_smooth_and_linear_where_large() -> None:
    raw = torch.tensor([-1e4, -100.0, -5.0, 0.0, 5.0, 100.0, 1e4], requires_grad=True)
    density = activated_density(raw)
    assert (density >= 0).all()
    assert (density[1:] > density[:-1])[1:].all()
    torch.testing.assert_close(density[3], torch.tensor(DENSITY_SCALE * math.log(2)))
    torch.testing.assert_close(density[5:], DENSITY_SCALE * raw.detach()[5:])
    density.sum().backward()
    assert raw.grad is not None
    torch.testing.assert_close(raw.grad[[0, 3, 6]], DENSITY_SCALE * torch.tensor([0.0, 0.5, 1.0]))


def test_colours_stay_in_range_and_latents_are_taken_as_they_are() -> None:
    raw = torch.tensor([[-1e4, 0.0, 1e4], [-1.0, 2.0, math.log(3)]])
    torch.testing.assert_close(activated_colour(raw)[0], torch.tensor([0.0, 0.5, 1.0]))
    assert activated_colour(raw)[1, 2].item() == pytest.approx(0.75)
    latent = torch.tensor([[-7.0, 0.0, 3.0, 1e3]])
    torch.testing.assert_close(activated_colour(latent), latent, atol=0, rtol=0)


def steps_back(field: VoxelField, away: int) -> int:
    """How many steps of Adam bring the middle of a field back to a tenth per metre, after `away` that carved it."""
    optimiser = torch.optim.Adam(field.parameters(), lr=0.2, betas=(0.9, 0.99), eps=1e-15)
    middle = torch.zeros(1, 3)
    for step in range(away + 500):
        field.refine(step / (away + 500))
        if step > away and field.density(middle).item() > 0.1:
            return step - away
        optimiser.zero_grad()
        (field.density(middle).sum() * (1 if step < away else -1)).backward()
        optimiser.step()
    return 500


def test_what_was_carved_away_comes_back_sooner_in_a_field_of_limited_depth() -> None:
    sizes = (4, 8)
    assert steps_back(VoxelField(sizes=sizes), 200) > 120
    assert steps_back(VoxelField(sizes=sizes, depth=Ramp(6.0, 6.0)), 200) < 60


def test_the_depth_of_a_field_is_shared_by_its_levels_and_changes_over_the_run() -> None:
    field = VoxelField(sizes=(4, 8), depth=Ramp(2.0, 8.0, begin=0.5))
    with torch.no_grad():
        for level in field.levels:
            level.fill_(-9.0)
    field.refine(1.0)
    assert {level[:, :1].amin().item() for level in field.levels} == {-4.0}
    field.refine(0.5)
    assert {level[:, :1].amin().item() for level in field.levels} == {-1.0}
    assert all((level[:, 1:] == -9).all() for level in field.levels)  # it is no business of colours
