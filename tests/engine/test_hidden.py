"""What the renderer spares itself: what is hidden, and memory for what a gradient needs of many points."""

import pytest
import torch
from torch import Tensor

from backend.engine import normals, rendering
from backend.engine.cameras import ring
from backend.engine.fields import VoxelField
from backend.engine.hashgrid import HashGridConfig, HashGridField
from backend.engine.regularisers import entropy, opacity
from backend.engine.rendering import Occupancy, render
from backend.engine.surface_terms import facing_away

EVERYWHERE = Occupancy(torch.ones(8, 8, 8, dtype=torch.bool))


class Partly(VoxelField):
    """A rough field, opaque on one side of x = 0 and thin on the other."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(3, (9,))
        with torch.no_grad():
            self.levels[0].copy_(torch.randn(self.levels[0].shape, generator=generator))
            self.levels[0][0, 0] += torch.linspace(-4, 8, 9)


def everything_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "HIDDEN", -1.0)


def slopes(field: VoxelField, view: rendering.Rendering) -> Tensor:
    """Of a loss that asks each pixel for a colour of its own, and of what judges opacities and normals."""
    field.zero_grad()
    wanted = torch.linspace(0, 1, view.colour.numel()).reshape(view.colour.shape)
    away = facing_away(normals.surface(field, view), view)
    terms = [(view.colour - wanted).square().sum(), opacity(view.opacity), entropy(view.opacity), away]
    torch.stack(terms).sum().backward()
    assert field.levels[0].grad is not None
    return field.levels[0].grad.clone()


@pytest.mark.parametrize("step", [2 / 32, 2 / 128])
def test_what_is_hidden_has_no_part_in_a_gradient_which_is_the_same(
    step: float, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, cameras = Partly(generator), ring(3, elevation_degrees=20)
    view = render(field, cameras, 24, EVERYWHERE, step)
    less = slopes(field, view)
    everything_kept(monkeypatch)
    whole = render(field, cameras, 24, EVERYWHERE, step)
    full = slopes(field, whole)
    assert len(view.weights) < 0.8 * len(whole.weights)
    assert 0.2 < (view.opacity < 0.9).float().mean() < 0.8
    assert (less - full).norm() < 1e-4 * full.norm()
    for name in ("colour", "opacity", "depth"):
        torch.testing.assert_close(getattr(view, name), getattr(whole, name), atol=1e-5, rtol=0)


def test_the_weights_of_what_is_seen_are_those_among_all(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, cameras = Partly(generator), ring(1, elevation_degrees=20)
    view = render(field, cameras, 12, EVERYWHERE, 0.05)
    everything_kept(monkeypatch)
    whole = render(field, cameras, 12, EVERYWHERE, 0.05)
    places = [torch.stack([v.samples.ray.double(), v.samples.distance.double()], dim=-1) for v in (view, whole)]
    same = (places[0][:, None] == places[1]).all(-1)
    assert torch.equal(same.sum(1), torch.ones(len(view.weights), dtype=torch.long))
    seen = same.any(0)
    torch.testing.assert_close(view.weights, whole.weights[seen], atol=1e-6, rtol=0)
    assert (~seen).sum() > 0
    assert whole.weights[~seen].max() < 1e-7


def test_what_is_not_a_number_is_not_hidden() -> None:
    field = VoxelField(sizes=(4,))
    with torch.no_grad():
        field.levels[0][0, 0] = torch.nan
    assert render(field, ring(1, 20), 5, EVERYWHERE, 0.1).colour.isnan().any()


class CountingVoxels(VoxelField):
    """Remembers how many points it was asked for, each time."""

    def __init__(self) -> None:
        super().__init__(3, (5,))
        self.asked: list[int] = []

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(len(x))
        return super().density_and_colour(x)


def test_what_many_points_take_is_made_anew_for_their_gradient_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    field = CountingVoxels()
    whole = slopes(field, render(field, ring(1, 20), 16, EVERYWHERE, 0.05))
    (count,) = field.asked
    monkeypatch.setattr(rendering, "POINTS_KEPT", 1000)
    monkeypatch.setattr(rendering, "POINTS_AT_ONCE", 500)
    field.asked.clear()
    parted = slopes(field, render(field, ring(1, 20), 16, EVERYWHERE, 0.05))
    assert sum(field.asked) == 2 * count > 4000
    assert max(field.asked) == 500
    assert (parted - whole).norm() < 1e-5 * whole.norm()


def test_a_gradient_of_many_points_keeps_few_numbers_of_each(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash grid's interpolation alone would keep a kilobyte."""
    monkeypatch.setattr(rendering, "POINTS_KEPT", 0)
    field = HashGridField(generator, config=HashGridConfig(log2_table=8))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        view = render(field, ring(1, 20), 24, EVERYWHERE, 0.02)
    assert len(view.weights) > 20_000
    assert sum(kept.values()) < 150 * len(view.weights)
