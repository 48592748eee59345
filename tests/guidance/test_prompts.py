"""Exact values at the named angles, continuity between them, and Perp-Neg's weights by hand."""

import math
from collections.abc import Sequence

import pytest
import torch

from backend.engine.cameras import Cameras
from backend.engine.names import VIEWS
from backend.guidance import prompts
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.prompts import PerpNeg, ViewPrompts, view_shares

FRONT, SIDE, BACK, ABOVE = torch.eye(4)


def cameras(azimuths: Sequence[float], elevations: Sequence[float] = (0.0,)) -> Cameras:
    """In degrees."""
    azimuth = torch.tensor(azimuths).deg2rad()
    elevation = torch.tensor(elevations).deg2rad().expand(len(azimuth))
    return Cameras(azimuth, elevation, torch.ones_like(azimuth), torch.ones_like(azimuth))


def embedded(mode: prompts.ViewMode, perp_neg: PerpNeg | None = None) -> ViewPrompts:
    """View i's embedding is the i-th unit vector; the negative prompt's is -1."""
    views = torch.eye(4)[:, None] if mode != "off" else torch.full((1, 1, 4), 0.5)
    return ViewPrompts(views, -torch.ones(1, 1, 4), mode, perp_neg)


def test_the_named_angles_see_one_view_each() -> None:
    shares = view_shares(cameras([0, 90, -90, 180, -180]))
    torch.testing.assert_close(shares, torch.stack([FRONT, SIDE, SIDE, BACK, BACK]))
    torch.testing.assert_close(view_shares(cameras([0, 77, 180], [80, 85, 90])), ABOVE.expand(3, 4))
    # Elevations below the ramp change nothing.
    torch.testing.assert_close(view_shares(cameras([0.0, 0.0], [-10, 60])), FRONT.expand(2, 4))


def test_between_them_two_views_share() -> None:
    # cos^2 30 = 3/4; from behind cos^2 150 = 3/4.
    expected = torch.tensor([[0.75, 0.25, 0, 0], [0, 0.25, 0.75, 0], [0.5, 0.5, 0, 0], [0.375, 0.125, 0, 0.5]])
    torch.testing.assert_close(view_shares(cameras([30, -150, 45, 30], [0, 0, 0, 70])), expected)


def test_shares_are_a_distribution_without_jumps_or_kinks() -> None:
    around = torch.linspace(-180, 180, 3601)
    shares = view_shares(cameras(around.tolist(), [15.0]))
    upward = view_shares(cameras([20.0] * 1801, torch.linspace(-90, 90, 1801).tolist()))
    for values in (shares, upward):
        assert values.min() >= 0
        torch.testing.assert_close(values.sum(1), torch.ones(len(values)))
        steps = values.diff(dim=0)
        # A tenth of a degree moves a share by 0.8 % at most; two steps in a row differ by a twentieth of that.
        assert steps.abs().max() < 8e-3
        assert steps.diff(dim=0).abs().max() < 4e-4
    torch.testing.assert_close(shares[0], shares[-1], atol=1e-5, rtol=0)


def test_each_view_has_the_larger_share_in_its_quarter() -> None:
    for azimuth in range(-179, 180, 7):
        name = "front" if abs(azimuth) < 45 else "side" if abs(azimuth) < 135 else "back"
        for elevation in (-10.0, 0.0, 59.0):
            assert VIEWS[int(view_shares(cameras([azimuth], [elevation])).argmax())] == name


def test_prompts_for_views_mix_embeddings() -> None:
    seen = cameras([0, 30, 90, 170], [0, 0, 70, 0])
    found = embedded("interpolated").at(seen)
    torch.testing.assert_close(found.positive[:, 0], view_shares(seen))
    torch.testing.assert_close(found.negative, -torch.ones(4, 1, 4))
    assert found.against is None


def test_without_view_dependence_every_camera_gets_the_plain_prompt() -> None:
    found = embedded("off").at(cameras([0, 90]))
    assert torch.equal(found.positive, torch.full((2, 1, 4), 0.5))


def test_perp_neg_weights_by_hand() -> None:
    weights = PerpNeg(weight=-2.0, front_decay=2.0, side_decay=10.0).at(
        torch.tensor(
            [
                [1.0, 0.0, 0.0, 0.0],  # front: nothing to avoid but, hardly, the side: e^0
                [0.5, 0.5, 0.0, 0.0],
                [0.1, 0.9, 0.0, 0.0],  # nearly the side: it is what is asked for
                [0.0, 0.5, 0.5, 0.0],
                [0.0, 0.9, 0.1, 0.0],
                [0.0, 0.0, 1.0, 0.0],
                [0.25, 0.25, 0.0, 0.5],  # half from above: half the weights
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
    )
    expected = -2 * torch.tensor(
        [
            [0.0, 1.0],
            [math.exp(-1), math.exp(-5)],
            [math.exp(-0.2), 0.0],
            [1.0, math.exp(-5) / 2],
            [1.0, 0.0],
            [1.0, 0.5],
            [math.exp(-1) / 2, math.exp(-5) / 2],
            [0.0, 0.0],
        ]
    )
    torch.testing.assert_close(weights, expected)


def test_perp_neg_weights_meet_at_the_side() -> None:
    before, after = PerpNeg().at(view_shares(cameras([89.9, 90.1])))
    torch.testing.assert_close(before, after, atol=1e-3, rtol=0)


def test_perp_neg_keeps_away_from_the_front_and_the_side() -> None:
    seen = cameras([20, 180])
    found = embedded("interpolated", PerpNeg()).at(seen)
    assert found.against is not None
    assert found.against_weights is not None
    torch.testing.assert_close(found.against[:, :, 0], torch.stack([FRONT, SIDE]).expand(2, 2, 4))
    torch.testing.assert_close(found.against_weights, PerpNeg().at(view_shares(seen)))


def test_what_no_camera_keeps_away_from_is_left_out() -> None:
    prompts = embedded("interpolated", PerpNeg())
    # A camera in front keeps away from the side alone; one at the side, and one that sees a little of the back, from
    # the front alone; from above there is nothing to keep away from.
    for azimuths, elevations, left in (([0, 0], [0.0], [SIDE]), ([90, 100], [0.0], [FRONT]), ([0, 90], [85.0], [])):
        seen = cameras(azimuths, elevations)
        found, weights = prompts.at(seen), PerpNeg().at(view_shares(seen))
        kept = [index for index in (0, 1) if weights[:, index].abs().max() >= 0.02]
        assert len(kept) == len(left)
        if not left:
            assert found.against is None
            assert found.against_weights is None
            continue
        assert found.against is not None
        assert found.against_weights is not None
        torch.testing.assert_close(found.against[:, :, 0], torch.stack(left).expand(2, -1, 4))
        torch.testing.assert_close(found.against_weights, weights[:, kept])


def test_one_camera_that_keeps_away_is_enough() -> None:
    seen = cameras([0, 90])
    found = embedded("interpolated", PerpNeg()).at(seen)
    assert found.against is not None
    torch.testing.assert_close(found.against[:, :, 0], torch.stack([FRONT, SIDE]).expand(2, 2, 4))
    torch.testing.assert_close(found.against_weights, PerpNeg().at(view_shares(seen)))


@pytest.mark.parametrize("mode", prompts.VIEW_MODES)
def test_words_for_better_and_worse_pictures_stand_between_the_prompt_and_the_view(
    mode: prompts.ViewMode, guidances: dict[str, DiffusionGuidance]
) -> None:
    guidance, seen = guidances["sd1"], cameras([0, 30, 180], [0, 0, 80])
    made = prompts.encode(guidance, "a mug", mode=mode, contrast=(", fine", ", foul"))
    for side, words in (("positive", ""), ("better", ", fine"), ("worse", ", foul")):
        alone = prompts.encode(guidance, f"a mug{words}", mode=mode)
        torch.testing.assert_close(getattr(made.at(seen), side), alone.at(seen).positive)
    assert prompts.encode(guidance, "a mug", mode=mode).at(seen).better is None


def test_a_prompt_is_encoded_with_the_words_for_each_view(guidances: dict[str, DiffusionGuidance]) -> None:
    guidance = guidances["prior"]
    made = prompts.encode(guidance, "a red mug", negative="a blue car")
    texts = [f"a red mug, {view}" for view in ("front view", "side view", "back view", "overhead view")]
    torch.testing.assert_close(made.views, guidance.encode(texts))
    torch.testing.assert_close(made.negative, guidance.encode(["a blue car"]))
    seen = cameras([0, 180, 5], [0, 0, 80])
    torch.testing.assert_close(made.at(seen).positive, made.views[[0, 2, 3]])
    plain = prompts.encode(guidance, "a red mug", mode="off")
    torch.testing.assert_close(plain.views, guidance.encode(["a red mug"]))
    torch.testing.assert_close(plain.negative, guidance.encode([""]))


def test_contradictory_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="view-dependent"):
        embedded("off", PerpNeg())


def test_an_overhead_view_is_one_from_more_than_sixty_degrees() -> None:
    upward = torch.linspace(-90, 90, 181)
    shares = view_shares(cameras([30.0] * 181, upward.tolist()))
    assert torch.equal(shares[upward <= 60, 3], torch.zeros(151))
    torch.testing.assert_close(shares[upward >= 80, 3], torch.ones(11))
    seen = cameras([30, 30], [55, 90])
    found = embedded("interpolated", PerpNeg())
    torch.testing.assert_close(found.at(seen).positive[:, 0], torch.tensor([[0.75, 0.25, 0, 0], [0, 0, 0, 1.0]]))
    weights = found.at(seen).against_weights
    assert weights is not None
    torch.testing.assert_close(weights[0], PerpNeg().at(view_shares(cameras([30.0])))[0])
