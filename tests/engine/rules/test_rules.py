"""Each rule against its formula for a model whose exact score is known, and the calls that it makes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.engine.rules import asd as asd_module
from backend.engine.rules import x0 as x0_module
from backend.engine.rules.asd import asd, later_timestep
from backend.engine.rules.bridge import bridge
from backend.engine.rules.choice import LATE, rule
from backend.engine.rules.csd import csd
from backend.engine.rules.sdi import sdi
from backend.engine.rules.sds import sds
from backend.engine.rules.step import Rule, Step
from backend.engine.rules.vsd import vsd
from backend.engine.rules.x0 import x0
from backend.engine.schedules import T_MIN

NEGATIVE, POSITIVE, BETTER, WORSE, PERP_NEG = -0.3, 0.5, 0.9, -0.8, 0.2  # see conftest
TIMESTEPS = [20, 300, 700, 980]
Steps = Callable[..., Step]


def slope(model: Any, t: int) -> float:
    """What the noise predicted changes by for each unit that a prompt's mean is lower, whatever the image is."""
    abar = float(model.abar[t])
    return (1 - abar) ** 0.5 * abar**0.5 / (abar * model.spread**2 + 1 - abar)


def by_autograd(loss: Callable[[Tensor], Tensor], clean: Tensor) -> Tensor:
    clean = clean.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(clean), clean)
    return found


@pytest.mark.parametrize("t", TIMESTEPS)
def test_sds_is_the_noise_predicted_less_the_noise_added(model: Any, step: Steps, t: int) -> None:
    given = step(t)
    expected = model.guided(given.noisy(t), t, 7.5) - given.noise
    torch.testing.assert_close(sds(given), expected)
    # The slope of the surrogate that DreamFusion's gradient has.
    torch.testing.assert_close(sds(given), by_autograd(lambda clean: (expected * clean).sum(), given.clean))


@pytest.mark.parametrize("t", TIMESTEPS)
def test_csd_is_where_the_prompt_pulls_whatever_the_image_and_the_noise_are(model: Any, step: Steps, t: int) -> None:
    expected = 7.5 * (NEGATIVE - POSITIVE) * slope(model, t)
    torch.testing.assert_close(csd(step(t)), torch.full_like(step().clean, expected))


@pytest.mark.parametrize("t", TIMESTEPS)
def test_what_csd_leaves_of_sds_knows_no_prompt(model: Any, step: Steps, t: int) -> None:
    given = step(t)
    torch.testing.assert_close(sds(given) - csd(given), model.eps(given.noisy(t), t, NEGATIVE) - given.noise)


@pytest.mark.parametrize("t", TIMESTEPS)
def test_bridge_goes_from_the_worse_to_the_better(model: Any, step: Steps, t: int) -> None:
    expected = (WORSE - BETTER) * slope(model, t)
    torch.testing.assert_close(bridge(step(t)), torch.full_like(step().clean, expected))


def test_bridge_without_its_prompts_is_refused(step: Steps) -> None:
    given = step()
    object.__setattr__(given.wishes, "better", None)
    with pytest.raises(ValueError, match="better and a worse"):
        bridge(given)


@pytest.mark.parametrize("t", TIMESTEPS)
def test_asd_subtracts_what_the_model_says_a_little_later_of_the_same_noise(model: Any, step: Steps, t: int) -> None:
    given = step(t)
    later = later_timestep(given)
    rival = model.eps(given.noisy(later), later, POSITIVE)
    torch.testing.assert_close(asd(given), model.guided(given.noisy(t), t, 7.5) - rival)


def test_the_later_timestep_is_at_most_a_tenth_of_the_way_later_and_one_of_the_model(step: Steps) -> None:
    found = {t: [later_timestep(step(t, seed=seed)) for seed in range(200)] for t in (10, T_MIN, 520, 980)}
    assert set(found[10]) == {10}
    assert set(found[T_MIN]) == {T_MIN}
    assert min(found[520]) == 520
    assert 565 < max(found[520]) < 520 + asd_module.SHIFT * 500
    assert max(found[980]) == 999


@pytest.mark.parametrize("t", TIMESTEPS)
def test_x0_is_the_slope_of_the_distance_to_an_image_half_way_rescaled(model: Any, step: Steps, t: int) -> None:
    given = step(t)
    abar, noisy = float(model.abar[t]), given.noisy(t)
    guided, plain = (
        (noisy - (1 - abar) ** 0.5 * eps) / abar**0.5
        for eps in (model.guided(noisy, t, 7.5), model.eps(noisy, t, POSITIVE))
    )
    target = 0.5 * plain.std() / guided.std() * guided + 0.5 * guided
    expected = by_autograd(lambda clean: (clean - target).square().sum() / 2, given.clean)
    torch.testing.assert_close(x0(given), expected)


def test_x0_rescaled_all_the_way_has_the_contrast_of_the_plain_prediction(
    model: Any, step: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(x0_module, "RESCALED", 1.0)
    given = step(700)
    abar, noisy = float(model.abar[700]), given.noisy(700)
    plain = (noisy - (1 - abar) ** 0.5 * model.eps(noisy, 700, POSITIVE)) / abar**0.5
    torch.testing.assert_close((given.clean - x0(given)).std(), plain.std())


@pytest.mark.parametrize(
    ("which", "calls"),
    [
        (sds, [[NEGATIVE, POSITIVE]]),
        (csd, [[NEGATIVE, POSITIVE]]),
        (asd, [[NEGATIVE, POSITIVE], [POSITIVE]]),
        (sdi, [[NEGATIVE, POSITIVE]] * 4),
        (bridge, [[WORSE, BETTER]]),
        (x0, [[NEGATIVE, POSITIVE]]),
        (vsd, [[NEGATIVE, POSITIVE]]),
    ],
)
def test_a_rule_calls_the_model_as_often_as_it_must(
    model: Any, step: Steps, which: Rule, calls: list[list[float]]
) -> None:
    which(step())
    assert [asked for _, asked in model.asked] == calls


@pytest.mark.parametrize("which", [sds, csd, asd, sdi, x0, vsd])
def test_perp_neg_is_a_part_of_every_guided_rule(model: Any, step: Steps, which: Rule) -> None:
    plain, other = which(step()), which(step(perp_neg=True))
    assert model.asked[-1][1] in ([NEGATIVE, POSITIVE, PERP_NEG], [POSITIVE])
    # Of prompts that differ in their means alone, none has a part at right angles to another.
    torch.testing.assert_close(plain, other)


def test_rules_that_sharpen_follow_upon_sds() -> None:
    assert [rule(name, 0.0) for name in ("sds", "csd", "asd", "x0", "vsd")] == [sds, csd, asd, x0, vsd]
    for name, late in (("sdi", sdi), ("bridge", bridge)):
        assert rule(name, LATE - 1e-6) is sds
        assert rule(name, LATE) is late
