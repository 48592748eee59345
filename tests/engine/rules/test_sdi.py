"""Inversion against DDIM's recursion in numbers, and against the flow that it follows in small steps."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from backend.engine.rules import sdi as module
from backend.engine.rules.sdi import inverted, sdi
from backend.engine.rules.step import Step

Steps = Callable[..., Step]
POSITIVE = 0.5  # see conftest


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn."""
    monkeypatch.setattr(module, "FRESH", 0.0)
    monkeypatch.setattr(module, "OVERSHOOT", 0.0)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("t", [20, 301, 700, 980])
def test_inversion_is_ddim_backwards(model: Any, step: Steps, t: int) -> None:
    given = step(t)
    image = given.clean
    for now, then in pairwise([0, t // 3, 2 * t // 3, t]):
        eps = model.guided(image, now, -7.5)
        a, b = float(model.abar[now]), float(model.abar[then])
        image = b**0.5 * (image - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps
    noise = inverted(given)
    assert [asked for asked, _ in model.asked] == [0, t // 3, 2 * t // 3]
    torch.testing.assert_close(given.noisy(t, noise), image)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("t", [100, 500, 900])
def test_in_small_steps_the_image_wanted_is_where_the_flow_leads(
    model: Any, step: Steps, t: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INVERSIONS", t)
    monkeypatch.setattr(module, "INVERSION_CFG", 1.0)
    given = step(t, cfg=1.0)
    found = sdi(given)
    # Probability flow keeps an image's place among all images: z_t - sqrt(abar) m grows as its standard deviation does,
    # from what it is at t = 0. From there E[x_0 | z_t] is m + spread^2 sqrt(abar) (z_t - sqrt(abar) m) / deviation^2.
    start, abar = float(model.abar[0]), float(model.abar[t])
    widths = [(a * model.spread**2 + 1 - a) ** 0.5 for a in (start, abar)]
    deviation = (given.clean - start**0.5 * POSITIVE) / widths[0] * widths[1]
    expected = POSITIVE + model.spread**2 * abar**0.5 * deviation / widths[1] ** 2
    torch.testing.assert_close(given.clean - found, expected, atol=0.02, rtol=0)


@pytest.mark.usefixtures("exact")
def test_every_step_wants_the_same_image_whatever_the_noise(step: Steps) -> None:
    given = step(500)
    other = Step(**{**vars(given), "noise": -given.noise})
    torch.testing.assert_close(sdi(given), sdi(other), atol=0, rtol=0)


def test_what_is_drawn_is_the_steps_own_and_goes_no_further_than_a_tenth(model: Any, step: Steps) -> None:
    ends = []
    for seed in range(50):
        model.asked.clear()
        torch.testing.assert_close(sdi(step(400, seed=seed)), sdi(step(400, seed=seed)), atol=0, rtol=0)
        ends.append(model.asked[2][0] * 1.5)  # the second of three levels
    assert 400 - 3 <= min(ends) < 420
    assert 480 < max(ends) <= 500
    assert not torch.equal(sdi(step(400, seed=0)), sdi(step(400, seed=1)))


def test_the_end_is_one_of_the_models_timesteps(step: Steps) -> None:
    for seed in range(20):
        assert sdi(step(980, seed=seed)).isfinite().all()
        assert sdi(step(0, seed=seed)).isfinite().all()
