"""The loop: what it reaches, that it repeats, that it can be stopped anywhere and go on, and when it gives up."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.fields import Growth, VoxelField
from backend.engine.optimise import NonFiniteError, Progress, Prompts, Resumption, optimise
from backend.engine.regularisers import Ramp
from backend.engine.settings import Regularisation, Settings, Shading
from backend.guidance.interface import Guidance
from backend.guidance.predictions import Predictions

EVERYTHING = Settings(
    steps=9,
    views=2,
    spacing=0.1,
    occupancy_every=4,
    occupancy_resolution=8,
    shading=Shading(lambertian=0.5, textureless=0.3, begin=0.2),
    regularisation=Regularisation(
        opacity=Ramp(0.01, 0.01), entropy=Ramp(0.0, 0.1), orientation=Ramp(0.1, 0.1), roughness=Ramp(1e-3, 1e-3)
    ),
)


def small_field() -> VoxelField:
    return VoxelField(growth=Growth((6, 9), (0.0, 0.5)))


def last(steps: Any) -> Progress:
    *_, final = steps
    return final


@pytest.mark.parametrize("schedule", ["time_prior", "uniform"])
def test_a_gaussian_score_leads_to_its_mean(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts, schedule: Any
) -> None:
    settings = Settings(
        steps=150,
        schedule=schedule,
        views=2,
        learning_rate=0.05,
        final_rate=0.02,
        spacing=0.02,
        occupancy_resolution=16,
    )
    last(optimise(ball, gaussian(mean=(0.8, 0.3, 0.1)), no_prompts, settings, seed=0))
    # The ball is opaque, so its colour alone decides what is seen, and the optimum is the mean itself.
    torch.testing.assert_close(ball.tint.detach(), torch.tensor([0.8, 0.3, 0.1]), atol=0.01, rtol=0)


def test_progress_tells_of_every_step(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    seen = list(optimise(small_field(), gaussian((0.5,) * 3), no_prompts, EVERYTHING, seed=0))
    assert [progress.step for progress in seen] == list(range(1, 10))
    assert all(progress.steps == 9 for progress in seen)
    assert all(later.t <= earlier.t for earlier, later in pairwise(seen))
    assert set(seen[-1].losses) == {"guidance", "opacity", "entropy", "orientation", "roughness"}
    views = seen[-1].render(ring(3, 20), 5)
    assert views.colour.shape == (3, 3, 5, 5)
    assert not views.colour.requires_grad


def test_the_same_seed_gives_the_same_field_and_another_one_does_not(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    def grids(seed: int) -> Tensor:
        field = small_field()
        last(optimise(field, gaussian((0.9, 0.2, 0.2)), no_prompts, EVERYTHING, seed))
        return torch.cat([parameter.detach().flatten() for parameter in field.parameters()])

    assert torch.equal(grids(1), grids(1))
    assert not torch.equal(grids(1), grids(2))


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, stop: int
) -> None:
    arguments = (gaussian((0.9, 0.2, 0.2)), no_prompts, EVERYTHING, 3)
    whole = last(optimise(small_field(), *arguments)).state()
    states = {progress.step: progress.state() for progress in optimise(small_field(), *arguments)}
    resumed = last(optimise(small_field(), *arguments, Resumption(stop, states[stop]))).state()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_term(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    calls = iter(range(100))

    class Broken(type(gaussian((0.5,) * 3))):  # type: ignore[misc]  # a class only known at run time
        def predict(self, noisy: Float[Tensor, "B C h w"], t: int, *asked: Any) -> Predictions:
            said = super().predict(noisy, t, *asked)
            return replace(said, outputs=said.outputs * (float("nan") if next(calls) == 5 else 1.0))

    field = small_field()
    with pytest.raises(NonFiniteError, match="guidance loss is not finite at step 5") as raised:
        last(optimise(field, Broken((0.5,) * 3), no_prompts, replace(EVERYTHING, steps=9), seed=0))
    assert (raised.value.step, raised.value.term) == (5, "guidance loss")
    # The step that would have spoilt the field was not taken.
    assert all(parameter.isfinite().all() for parameter in field.parameters())


def test_a_gradient_that_is_not_finite_stops_the_run_too(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    # Square roots are finite at 0, their slope is not.
    ball.roughness = lambda generator: (ball.tint - ball.tint.detach()).abs().sqrt().sum()
    settings = replace(EVERYTHING, shading=Shading(), regularisation=Regularisation(roughness=Ramp(1.0, 1.0)))
    with pytest.raises(NonFiniteError, match="gradient is not finite at step 0"):
        last(optimise(ball, gaussian((0.5,) * 3), no_prompts, settings, seed=0))
    assert ball.tint.isfinite().all()


@pytest.mark.parametrize("name", ["steps", "views", "learning_rate", "spacing"])
def test_settings_refuse_what_is_not_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(EVERYTHING, **{name: 0})


def test_shares_of_shading_are_shares() -> None:
    with pytest.raises(ValueError, match="shares"):
        Shading(lambertian=0.7, textureless=0.7)
