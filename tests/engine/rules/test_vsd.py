"""VSD against closed forms for renders and images that are both Gaussian, and what its rival is given to learn."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from backend.engine.rules.step import Step
from backend.engine.rules.vsd import teach, vsd

POSITIVE = 0.5  # see conftest
TIMESTEPS = [20, 300, 700, 980]
Steps = Callable[..., Step]


@pytest.mark.parametrize("t", TIMESTEPS)
def test_vsd_is_the_noise_predicted_less_what_the_rival_takes_for_noise(
    model: Any, rival: Any, step: Steps, t: int
) -> None:
    given = step(t)
    noisy, abar = given.noisy(t), float(model.abar[t])
    theirs = (1 - abar) ** 0.5 * (noisy - abar**0.5 * rival.mean) / (abar * rival.spread**2 + 1 - abar)
    torch.testing.assert_close(vsd(given), model.guided(noisy, t, 7.5) - theirs)


def test_the_rival_is_asked_once_about_the_same_noisy_images(rival: Any, step: Steps) -> None:
    given = step(300)
    vsd(given)
    ((noisy, t, texts),) = rival.asked
    assert torch.equal(noisy, given.noisy(300))
    assert (t, texts) == (300, [POSITIVE])


@pytest.mark.parametrize("t", TIMESTEPS)
def test_renders_that_are_as_the_prompts_images_are_left_alone(model: Any, rival: Any, step: Steps, t: int) -> None:
    rival.mean, rival.spread = POSITIVE, model.spread
    torch.testing.assert_close(vsd(step(t, cfg=1.0)), torch.zeros_like(step().clean))


@pytest.mark.parametrize("t", TIMESTEPS)
@pytest.mark.parametrize(("mean", "spread"), [(0.1, 0.7), (0.5, 0.2), (-1.0, 0.4)])
def test_it_descends_the_divergence_of_the_noisy_renders_from_the_noisy_images(
    model: Any, rival: Any, step: Steps, t: int, mean: float, spread: float
) -> None:
    rival.mean, rival.spread = mean, spread
    abar = float(model.abar[t])
    # These four have all the moments that count, as what either model says is linear in them.
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    place, noise = (column[:, None, None, None].expand(4, 3, 2, 2) for column in signs.unbind(1))
    renders = replace(step(t, cfg=1.0, count=4), clean=mean + spread * place, noise=noise)
    moved = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
    ours, theirs = (
        torch.distributions.Normal(abar**0.5 * centre, (abar * width**2 + 1 - abar) ** 0.5)
        for centre, width in ((moved, spread), (torch.tensor(POSITIVE, dtype=torch.float64), model.spread))
    )
    (slope,) = torch.autograd.grad(torch.distributions.kl_divergence(ours, theirs), moved)
    expected = ((1 - abar) / abar) ** 0.5 * slope
    torch.testing.assert_close(vsd(renders).mean(0), expected.expand(3, 2, 2))


def test_vsd_without_a_rival_is_refused(step: Steps) -> None:
    with pytest.raises(ValueError, match="vsd wants a rival"):
        vsd(replace(step(), rival=None))


def test_the_rival_learns_the_renders_with_noise_of_its_own(rival: Any, step: Steps) -> None:
    given = step(300)
    assert teach(given, rival) == 0.25
    ((clean, noise, _, text, views),) = rival.learnt
    assert torch.equal(clean, given.clean)
    assert noise.shape == given.noise.shape
    assert not torch.equal(noise, given.noise)
    assert torch.equal(text, given.wishes.positive)
    assert views is given.views


def test_what_is_drawn_for_it_is_the_steps_own(rival: Any, step: Steps) -> None:
    for seed in (1, 1, 2):
        teach(step(seed=seed), rival)
    (_, noise, t, *_), (_, again, t_again, *_), (_, other, *_) = rival.learnt
    assert torch.equal(noise, again)
    assert torch.equal(t, t_again)
    assert not torch.equal(noise, other)


@pytest.mark.parametrize("t", [20, 980])
def test_it_learns_at_any_timestep_whatever_the_schedule_says(rival: Any, step: Steps, t: int) -> None:
    for seed in range(300):
        teach(step(t, seed=seed), rival)
    drawn = torch.cat([t for _, _, t, _, _ in rival.learnt]).float()
    assert 0 <= drawn.min() < 10
    assert 990 <= drawn.max() <= 999
    assert abs(drawn.mean() - 499.5) < 3 * 1000 / (12 * len(drawn)) ** 0.5


def test_views_that_see_each_other_are_equally_noisy(rival: Any, step: Steps) -> None:
    given = step(count=4)
    for joint, different in ((1, 4), (2, 2), (4, 1)):
        teach(replace(given, views=replace(given.views, joint=joint)), rival)
        t = rival.learnt[-1][2]
        assert t.shape == (4,)
        assert len(t.unique()) == different
        assert torch.equal(t, t.reshape(-1, joint)[:, :1].expand(-1, joint).flatten())
