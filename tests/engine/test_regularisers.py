"""Each regulariser by hand and at its ends."""

import math

import pytest
import torch

from backend.engine.regularisers import Ramp, entropy, opacity, orientation, variation


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 10.0), (0.2, 10.0), (0.35, 257.5), (0.5, 505.0), (0.8, 1000.0), (1.0, 1000.0)]
)
def test_a_ramp_by_hand(progress: float, weight: float) -> None:
    assert Ramp(10.0, 1000.0, begin=0.2, finish=0.8).at(progress) == pytest.approx(weight)


def test_a_ramp_without_length_is_a_step() -> None:
    ramp = Ramp(1.0, 2.0, begin=0.5, finish=0.5)
    assert [ramp.at(p) for p in (0.0, 0.499, 0.5, 1.0)] == [1.0, 1.0, 2.0, 2.0]


def test_a_constant_ramp_is_constant() -> None:
    assert [Ramp(3.0, 3.0).at(p / 7) for p in range(8)] == [3.0] * 8


@pytest.mark.parametrize("ends", [(-0.1, 1.0), (0.6, 0.5), (0.0, 1.1)])
def test_a_ramp_beyond_the_run_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="runs within"):
        Ramp(0.0, 1.0, *ends)


def test_opacity_by_hand() -> None:
    alpha = torch.tensor([[[0.0, 1.0], [0.5, 0.25]], [[1.0, 1.0], [1.0, 1.0]]], requires_grad=True)
    assert opacity(alpha).item() == pytest.approx((1.75 + 4) / 2)
    opacity(alpha).backward()
    torch.testing.assert_close(alpha.grad, torch.full((2, 2, 2), 0.5))


def test_entropy_by_hand() -> None:
    # H(1/2) = ln 2; H(1/4) = ln 4 - 3/4 ln 3.
    alpha = torch.tensor([[[0.5, 0.25]], [[0.75, 0.5]]])
    expected = (2 * math.log(2) + 2 * (math.log(4) - 0.75 * math.log(3))) / 2
    assert entropy(alpha).item() == pytest.approx(expected)


def test_entropy_is_symmetric_largest_for_fog_and_nothing_at_the_ends() -> None:
    values = torch.tensor([entropy(torch.full((1, 1, 1), a / 20)).item() for a in range(21)])
    torch.testing.assert_close(values, values.flip(0), atol=1e-5, rtol=0)
    assert values.argmax() == 10
    assert (values[1:11] > values[:10]).all()
    assert values[0] < 2e-3  # H(1e-4) = 1e-4 (1 + ln 1e4)


def test_entropy_has_finite_gradients_everywhere_that_point_away_from_fog() -> None:
    alpha = torch.tensor([[[0.0, 1e-30, 1e-3, 0.4, 0.5, 0.6, 0.999, 1.0]]], requires_grad=True)
    entropy(alpha).backward()
    assert alpha.grad is not None
    slope = alpha.grad[0, 0]
    assert slope.isfinite().all()
    assert slope[[0, 1, 7]].abs().max() == 0
    assert slope[4].item() == pytest.approx(0, abs=1e-6)
    assert (slope[2:4] > 0).all()
    assert (slope[5:7] < 0).all()
    assert slope[3].item() == pytest.approx(math.log(0.6 / 0.4), rel=1e-4)


def test_orientation_counts_only_surfaces_that_face_away() -> None:
    view = torch.tensor([[0.0, 1.0, 0.0]])
    facing, edge_on, away = (torch.tensor([[0.0, y, (1 - y * y) ** 0.5]]) for y in (-1.0, 0.0, 0.6))
    solid = torch.tensor([0.5])
    assert orientation(facing, view, solid, 1).item() == 0
    assert orientation(edge_on, view, solid, 1).item() == 0
    assert orientation(away, view, solid, 1).item() == pytest.approx(0.5 * 0.36)


def test_orientation_sums_over_samples_and_averages_over_views() -> None:
    normals = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    directions = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.0], [-1.0, 0.0, 0.0]])
    loss = orientation(normals, directions, torch.tensor([0.2, 0.4, 1.0]), views=2)
    assert loss.item() == pytest.approx((0.2 + 0.4 * 0.25) / 2)
    loss.backward()
    assert normals.grad is not None
    # Less of a normal along the view is better; one that faces the camera is left alone.
    torch.testing.assert_close(normals.grad[0], torch.tensor([0.0, 0.2, 0.0]))
    assert normals.grad[2].abs().max() == 0


def test_orientation_turns_surfaces_and_does_not_hide_them() -> None:
    normals = torch.tensor([[0.0, 0.6, 0.8]], requires_grad=True)
    opacities = torch.tensor([0.5], requires_grad=True)
    orientation(normals, torch.tensor([[0.0, 1.0, 0.0]]), 1 * opacities, 1).backward()
    assert normals.grad is not None
    assert opacities.grad is None


def test_variation_is_the_length_of_the_change_where_something_is_seen() -> None:
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    beside = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.6, 0.8], [-1.0, 0.0, 0.0]])
    opacities = torch.tensor([1.0, 0.5, 0.25])
    expected = (0.5 * math.hypot(0.6, 0.2) + 0.25 * 2) / 2
    assert variation(normals, beside, opacities, views=2).item() == pytest.approx(expected, abs=0.01)


def test_a_sharp_edge_varies_no_more_than_a_round_one_and_waves_do() -> None:
    def total(degrees: list[float]) -> float:
        turned = torch.deg2rad(torch.tensor(degrees))
        normals = torch.stack([turned.cos(), turned.sin(), torch.zeros_like(turned)], dim=-1)
        return variation(normals[1:], normals[:-1], torch.ones(len(degrees) - 1), 1).item()

    sharp, rounded, wavy = total([0, 0, 0, 0, 40]), total([0, 10, 20, 30, 40]), total([0, 20, 0, 20, 40])
    assert sharp == pytest.approx(rounded, rel=0.05)
    assert wavy > 1.9 * rounded


def test_variation_draws_both_to_each_other_and_hides_nothing() -> None:
    normals = torch.tensor([[0.0, 0.6, 0.8]], requires_grad=True)
    beside = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
    opacities = torch.tensor([0.5], requires_grad=True)
    variation(normals, beside, 1 * opacities, 1).backward()
    assert opacities.grad is None
    assert normals.grad is not None
    assert beside.grad is not None
    torch.testing.assert_close(normals.grad, -beside.grad)
    assert normals.grad[0, 1] > 0 > normals.grad[0, 2]


def test_equal_normals_have_a_finite_slope() -> None:
    normals = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
    variation(normals, normals.detach().clone(), torch.ones(1), 1).backward()
    assert normals.grad is not None
    assert normals.grad.abs().max() == 0
