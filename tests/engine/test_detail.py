"""Renders that grow over a run: their sizes, what the model and the regularisers make of them, and that runs resume."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.engine.cameras import CameraDistribution, ring
from backend.engine.fields import VoxelField
from backend.engine.optimise import Progress, Resumption, optimise
from backend.engine.randomness import generator
from backend.engine.regularisers import Ramp
from backend.engine.settings import Detail, Regularisation, Settings, Shading
from backend.engine.shots import Prompts
from backend.guidance.interface import Guidance
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views

GROWING = Detail(size=Ramp(0.5, 2.0), spacing=Ramp(1.0, 0.5), frame=Ramp(1.0, 0.6, begin=0.5))
SETTINGS = Settings(
    steps=4,
    views=2,
    spacing=0.1,
    detail=GROWING,
    occupancy_every=4,
    occupancy_resolution=8,
    shading=Shading(lambertian=0.5, begin=0.2),
    regularisation=Regularisation(opacity=Ramp(0.01, 0.01), orientation=Ramp(0.1, 0.1)),
)


def small_field() -> VoxelField:
    return VoxelField(sizes=(6,))


def last(steps: Any) -> Progress:
    *_, final = steps
    return final


@dataclass(frozen=True)
class Watching:
    """Guidance that does as another does, and the sizes of what it is shown and asked; and from where."""

    guidance: Any
    rendered: list[int]
    diffused: list[int]
    views: list[Views]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guidance, name)

    def model_space(self, images: Tensor) -> Tensor:
        self.rendered.append(images.shape[-1])
        return self.guidance.model_space(images)

    def predict(self, noisy: Tensor, t: int, conditionings: Sequence[Tensor], views: Views) -> Predictions:
        self.diffused.append(noisy.shape[-1])
        self.views.append(views)
        return self.guidance.predict(noisy, t, conditionings, views)


def watched(guidance: Guidance, prompts: Prompts, settings: Settings) -> Watching:
    watching = Watching(guidance, [], [], [])
    last(optimise(small_field(), watching, prompts, settings, seed=5))
    return watching


def test_renders_grow_and_the_model_is_shown_its_own_size(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    watching = watched(gaussian((0.9, 0.2, 0.2)), no_prompts, SETTINGS)
    # From 6 pixels at progress 0 towards 24 at 1; the last of four steps begins at 3/4, and Python rounds 10.5 to 10.
    assert watching.rendered == [6, 10, 15, 20]
    assert set(watching.diffused) == {12}


def test_by_default_nothing_grows(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    plain = replace(SETTINGS, detail=Detail())
    assert watched(gaussian((0.9, 0.2, 0.2)), no_prompts, plain).rendered == [12] * 4
    assert plain.finest(64) == (64, 0.1)
    assert plain.spacing_at(0.7) == 0.1


def test_the_finest_of_a_run_is_what_memory_is_planned_for() -> None:
    assert SETTINGS.finest(64) == (128, pytest.approx(0.05))
    falling = replace(SETTINGS, detail=Detail(size=Ramp(2.0, 1.0), spacing=Ramp(0.25, 1.0)))
    assert falling.finest(64) == (128, pytest.approx(0.025))


def test_the_model_is_told_of_the_closer_view(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    frames = [1.0, 1.0, 1.0, 0.8]
    views = watched(gaussian((0.9, 0.2, 0.2)), no_prompts, SETTINGS).views
    for step, (told, frame) in enumerate(zip(views, frames, strict=True)):
        drawn = CameraDistribution().sample(2, generator(5, step, "cameras"))
        assert torch.equal(told.cameras.distance, drawn.distance)
        torch.testing.assert_close(torch.tan(told.cameras.fov / 2), frame * torch.tan(drawn.fov / 2))


def test_a_closer_view_is_the_middle_of_the_picture() -> None:
    cameras = ring(3, 20)
    origins, directions = cameras.rays(12, 12)
    closer_origins, closer = cameras.closer(0.5).rays(6, 6)
    assert torch.equal(closer_origins, origins)
    torch.testing.assert_close(closer, directions[:, 3:9, 3:9])


@pytest.mark.parametrize("share", [0.5, 3.0])
def test_the_regularisers_weigh_as_much_at_any_size(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts, share: float
) -> None:
    asked = Regularisation(opacity=Ramp(1.0, 1.0), orientation=Ramp(1.0, 1.0))
    settings = replace(SETTINGS, steps=1, spacing=0.05, shading=Shading(), regularisation=asked)

    def opacity(size: float) -> float:
        asked = replace(settings, detail=Detail(size=Ramp(size, size)))
        return last(optimise(type(ball)(), gaussian((0.5,) * 3, size=24), no_prompts, asked, 0)).losses["opacity"]

    assert opacity(share) == pytest.approx(opacity(1.0), rel=0.1)


def test_a_gaussian_score_leads_to_its_mean_by_way_of_renders_that_grow(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    # So close that the ball fills the picture: its rim, scaled, is a blend with what is behind.
    settings = Settings(
        steps=150,
        detail=Detail(size=Ramp(0.5, 2.0), frame=Ramp(0.4, 0.4)),
        views=2,
        learning_rate=0.05,
        final_rate=0.02,
        spacing=0.05,
        occupancy_resolution=16,
    )
    last(optimise(ball, gaussian(mean=(0.8, 0.3, 0.1)), no_prompts, settings, seed=0))
    torch.testing.assert_close(ball.tint.detach(), torch.tensor([0.8, 0.3, 0.1]), atol=0.01, rtol=0)


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_that_grows_resumes_to_the_same_bits(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, stop: int
) -> None:
    arguments = (gaussian((0.9, 0.2, 0.2)), no_prompts, SETTINGS, 3)
    states = {progress.step: progress.state() for progress in optimise(small_field(), *arguments)}
    resumed = last(optimise(small_field(), *arguments, Resumption(stop, states[stop]))).state()
    assert all(torch.equal(states[4][name], resumed[name]) for name in resumed)


@pytest.mark.parametrize("wrong", ["size", "spacing", "frame"])
def test_shares_of_nothing_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        Detail(**{wrong: Ramp(1.0, 0.0)})
