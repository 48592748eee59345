"""The loop: what it reaches, that it repeats, that it can be stopped anywhere and go on, and when it gives up."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.engine.cameras import CameraDistribution, Cameras, ring
from backend.engine.fields import VoxelField
from backend.engine.finite import PATIENCE, NonFiniteError
from backend.engine.names import RULES
from backend.engine.optimise import Progress, Resumption, optimise
from backend.engine.randomness import generator
from backend.engine.regularisers import Ramp
from backend.engine.scene import Volume
from backend.engine.settings import Regularisation, Settings, Shading
from backend.engine.shading import LightDistribution
from backend.engine.shots import Prompts, groups
from backend.guidance.interface import Guidance, Rival
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views

EVERYTHING = Settings(
    steps=9,
    views=2,
    spacing=0.1,
    occupancy_every=4,
    occupancy_resolution=8,
    shading=Shading(lambertian=0.5, textureless=0.3, begin=0.2),
    regularisation=Regularisation(
        opacity=Ramp(0.01, 0.01), entropy=Ramp(0.0, 0.1), orientation=Ramp(0.1, 0.1), bending=Ramp(0.1, 0.1)
    ),
)


def small_field() -> VoxelField:
    return VoxelField(sizes=(6, 9))


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
    assert set(seen[-1].losses) == {"guidance", "opacity", "entropy", "orientation", "bending"}
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


@dataclass(frozen=True)
class Heard:
    """Guidance that does as another does, and what it was told and asked."""

    guidance: Any
    views: list[Views]
    calls: list[int]
    spoilt: Callable[[int], Sequence[int]] = lambda call: ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guidance, name)

    def predict(self, noisy: Tensor, t: int, conditionings: Sequence[Tensor], views: Views) -> Predictions:
        """Infinite in those views of this call that are to be spoilt."""
        said = self.guidance.predict(noisy, t, conditionings, views)
        outputs = said.outputs.clone()
        outputs[:, list(self.spoilt(len(self.calls)))] = torch.inf
        self.views.append(views)
        self.calls.append(len(conditionings))
        return replace(said, outputs=outputs)


def heard(guidance: Guidance, spoilt: Callable[[int], Sequence[int]] = lambda call: ()) -> Heard:
    return Heard(guidance, [], [], spoilt)


def test_a_view_that_is_not_finite_is_left_out_of_its_step_and_counted(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    field = small_field()
    guidance = heard(gaussian((0.9, 0.2, 0.2)), lambda call: {2: [0], 4: [0, 1]}.get(call, []))
    left_out, fields = [], []
    for progress in optimise(field, guidance, no_prompts, EVERYTHING, seed=0):
        left_out.append(progress.left_out)
        fields.append(field.levels[0].detach().clone())
        assert set(progress.losses) >= {"opacity", "orientation", "bending"}
        assert all(torch.isfinite(torch.tensor(value)) for value in progress.losses.values())
    assert left_out == [0, 0, 1, 1, 3, 3, 3, 3, 3]
    assert fields[-1].isfinite().all()
    moved = [not torch.equal(earlier, later) for earlier, later in pairwise(fields)]
    assert moved == [index != 3 for index in range(8)]  # without any view there is no step


def test_a_view_that_is_left_out_has_no_part_in_any_term(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    asked = Regularisation(
        opacity=Ramp(1.0, 1.0), entropy=Ramp(1.0, 1.0), orientation=Ramp(1.0, 1.0), bending=Ramp(1.0, 1.0)
    )
    settings = replace(EVERYTHING, steps=1, views=3, shading=Shading(), regularisation=asked)

    def losses(spoilt: Sequence[int]) -> dict[str, float]:
        guidance = heard(gaussian((0.5,) * 3), lambda call: spoilt)
        return last(optimise(type(ball)(), guidance, no_prompts, settings, 0)).losses

    # Each term is a mean over views, so what each has by itself adds up to what all have.
    whole, alone = losses([]), [losses([other for other in range(3) if other != view]) for view in range(3)]
    assert set(whole) == {"guidance", "opacity", "entropy", "orientation", "bending"}
    entropy_of_nothing = 12**2 * 2 / 3 * (1e-4 - 1e-4 * torch.tensor(1e-4).log().item())
    for name, value in whole.items():
        nothing = 3 * entropy_of_nothing if name == "entropy" else 0.0
        assert sum(one[name] for one in alone) - nothing == pytest.approx(value, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("spoilt", [[0], [0, 1]])
def test_a_run_in_which_that_happens_all_the_time_fails_with_step_and_term(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, spoilt: list[int]
) -> None:
    settings = replace(EVERYTHING, steps=40)
    field, guidance = small_field(), heard(gaussian((0.5,) * 3), lambda call: spoilt if call >= 5 else [])
    with pytest.raises(NonFiniteError, match="the guidance is not finite at step 24, for the 20th time") as raised:
        last(optimise(field, guidance, no_prompts, settings, seed=0))
    assert (raised.value.step, raised.value.term) == (4 + PATIENCE, "guidance")
    assert all(parameter.isfinite().all() for parameter in field.parameters())


def test_steps_between_that_are_whole_start_the_count_anew(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    guidance = heard(gaussian((0.5,) * 3), lambda call: [0] if call % PATIENCE else [])
    settings = replace(EVERYTHING, steps=45)
    assert last(optimise(small_field(), guidance, no_prompts, settings, seed=0)).left_out == 42


def test_a_resumed_run_goes_on_counting(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    settings = replace(EVERYTHING, steps=40)
    run = optimise(small_field(), heard(gaussian((0.5,) * 3), lambda call: [1]), no_prompts, settings, seed=0)
    state = [next(run) for _ in range(15)][-1].state()
    guidance = heard(gaussian((0.5,) * 3), lambda call: [1])
    resumed = optimise(small_field(), guidance, no_prompts, settings, 0, Resumption(15, state))
    assert next(resumed).left_out == 16
    with pytest.raises(NonFiniteError, match="at step 19"):
        last(resumed)


def test_a_gradient_that_is_not_finite_leaves_the_field_as_it_is(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Square roots are finite at 0, their slope is not.
    def terms(scene: Volume, progress: float, draws: torch.Generator) -> dict[str, Tensor]:
        return {"eikonal": (ball.tint - ball.tint.detach()).abs().sqrt().sum()}

    monkeypatch.setattr(Volume, "terms", terms)
    settings = replace(EVERYTHING, steps=40, shading=Shading(), regularisation=Regularisation())
    with pytest.raises(NonFiniteError, match="the gradient is not finite at step 19"):
        last(optimise(ball, gaussian((0.5,) * 3), no_prompts, settings, seed=0))
    assert torch.equal(ball.tint.detach(), torch.full((3,), 0.5))


def test_a_term_that_is_not_finite_is_named(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Volume, "terms", lambda scene, progress, draws: {"eikonal": ball.tint.sum() * torch.nan})
    settings = replace(EVERYTHING, steps=40, regularisation=Regularisation())
    with pytest.raises(NonFiniteError, match="the eikonal loss is not finite at step 19"):
        last(optimise(ball, gaussian((0.5,) * 3), no_prompts, settings, seed=0))
    assert ball.tint.isfinite().all()


def told(guidance: Guidance, prompts: Prompts, **changes: Any) -> list[Views]:
    """What `guidance` is told of the views of two steps."""
    listening = heard(guidance)
    last(optimise(small_field(), listening, prompts, replace(EVERYTHING, **changes, steps=2), seed=5))
    return listening.views


def test_the_guidance_is_told_the_cameras_that_were_drawn(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    for step, views in enumerate(told(gaussian((0.5,) * 3), no_prompts)):
        drawn = CameraDistribution().sample(2, generator(5, step, "cameras"))
        assert torch.equal(torch.stack(views.cameras.columns), torch.stack(drawn.columns))
        assert views.joint == 1


def test_a_rig_goes_around_the_object(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    for step, views in enumerate(told(gaussian((0.5,) * 3), no_prompts, views=4, rig=True, joint_views=4)):
        assert views.joint == 4
        drawn = CameraDistribution().rigs(1, 4, generator(5, step, "cameras"))
        assert torch.equal(views.cameras.azimuth, drawn.azimuth)
        apart = (views.cameras.azimuth.roll(-1) - views.cameras.azimuth).rad2deg() % 360
        assert ((apart - 90).abs() < 90 * 0.4).all()


def test_plain_views_have_ambient_light_alone(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    for views in told(gaussian((0.5,) * 3), no_prompts, views=8, shading=Shading()):
        assert torch.equal(views.lights.ambient, torch.ones(8))
    mixed = told(gaussian((0.5,) * 3), no_prompts, views=64, shading=Shading(0.25, 0.25, begin=0.5))
    assert torch.equal(mixed[0].lights.ambient, torch.ones(64))  # not begun yet
    assert 20 < int((mixed[1].lights.ambient < 1).sum()) < 44


def test_lights_are_told_as_the_cameras_see_them(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    for step, views in enumerate(told(gaussian((0.5,) * 3), no_prompts, shading=Shading(1.0, 0.0, begin=0.0))):
        cameras: Cameras = views.cameras
        drawn = LightDistribution().sample(cameras.backward, generator(5, step, "lights"))
        assert torch.equal(views.lights.ambient, drawn.ambient)
        right, up = cameras.right_and_up
        for column, axis in enumerate((right, up, cameras.backward)):
            torch.testing.assert_close(views.lights.direction[:, column], (drawn.direction * axis).sum(1))


@pytest.mark.parametrize("rule", ["asd", "sdi", "x0"])
def test_other_rules_lead_there_too(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts, rule: Any
) -> None:
    settings = Settings(
        steps=150, rule=rule, views=2, learning_rate=0.05, final_rate=0.02, spacing=0.02, occupancy_resolution=16
    )
    last(optimise(ball, gaussian(mean=(0.8, 0.3, 0.1)), no_prompts, settings, seed=0))
    torch.testing.assert_close(ball.tint.detach(), torch.tensor([0.8, 0.3, 0.1]), atol=0.02, rtol=0)


AGAINST_A_RIVAL = replace(EVERYTHING, rule="vsd")


def test_a_rival_that_learns_the_renders_leads_there_too(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts, new_rival: Callable[..., Rival]
) -> None:
    settings = replace(
        AGAINST_A_RIVAL,
        steps=150,
        learning_rate=0.05,
        final_rate=0.02,
        shading=Shading(),
        regularisation=Regularisation(),
    )
    last(optimise(ball, gaussian(mean=(0.8, 0.3, 0.1)), no_prompts, settings, seed=0, rival=new_rival()))
    torch.testing.assert_close(ball.tint.detach(), torch.tensor([0.8, 0.3, 0.1]), atol=0.02, rtol=0)


def test_the_rival_learns_the_renders_of_every_step(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, new_rival: Callable[..., Any]
) -> None:
    rival = new_rival()
    steps = list(optimise(small_field(), gaussian((0.5,) * 3), no_prompts, AGAINST_A_RIVAL, seed=0, rival=rival))
    assert len(rival.lessons) == len(steps) == 9
    assert all("rival" in progress.losses for progress in steps)
    for clean, _ in rival.lessons:
        assert clean.shape == (2, 3, 12, 12)
        assert not clean.requires_grad
    timesteps = torch.cat([t for _, t in rival.lessons]).tolist()
    assert len(set(timesteps)) > 12
    assert min(timesteps) < 200 < 800 < max(timesteps)


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_resumed_run_goes_on_with_its_rival(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, new_rival: Callable[..., Rival], stop: int
) -> None:
    def run(resume: Resumption | None = None) -> Any:
        guidance = gaussian((0.9, 0.2, 0.2))
        return optimise(small_field(), guidance, no_prompts, AGAINST_A_RIVAL, 3, resume, new_rival())

    states = {progress.step: progress.state() for progress in run()}
    resumed, whole = last(run(Resumption(stop, states[stop]))).state(), states[9]
    assert {name for name in whole if name.startswith("rival.")} == {"rival.mean", "rival.mean.momentum"}
    assert not torch.equal(whole["rival.mean"], states[stop]["rival.mean"])
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_without_a_rival_keeps_nothing_of_one(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, new_rival: Callable[..., Rival]
) -> None:
    alone, against = (
        last(optimise(small_field(), gaussian((0.5,) * 3), no_prompts, settings, seed=0, rival=rival)).state()
        for settings, rival in ((EVERYTHING, None), (AGAINST_A_RIVAL, new_rival()))
    )
    assert alone.keys() == {name for name in against if not name.startswith("rival.")} < against.keys()


def test_a_rival_learns_nothing_from_steps_in_which_a_view_is_not_finite(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, new_rival: Callable[..., Any]
) -> None:
    rival, guidance = new_rival(), heard(gaussian((0.5,) * 3), lambda call: [0] if call in (2, 3) else [])
    last(optimise(small_field(), guidance, no_prompts, AGAINST_A_RIVAL, seed=0, rival=rival))
    assert len(rival.lessons) == 7


def test_a_rival_that_can_never_learn_ends_the_run(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, new_rival: Callable[..., Rival]
) -> None:
    settings, rival = replace(AGAINST_A_RIVAL, steps=40), new_rival(lambda lesson: lesson > 5)
    with pytest.raises(NonFiniteError, match="the rival is not finite at step 24, for the 20th time"):
        last(optimise(small_field(), gaussian((0.5,) * 3), no_prompts, settings, seed=0, rival=rival))


@pytest.mark.parametrize("name", ["steps", "views", "joint_views", "learning_rate", "rival_rate", "spacing"])
def test_settings_refuse_what_is_not_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(EVERYTHING, **{name: 0})


def test_views_that_see_each_other_are_whole_rigs() -> None:
    with pytest.raises(ValueError, match="in a rig only"):
        Settings(views=4, joint_views=4)
    with pytest.raises(ValueError, match="6 views are no whole groups of 4"):
        Settings(views=6, rig=True, joint_views=4)
    assert Settings(views=8, rig=True, joint_views=4).joint_views == 4


def test_shares_of_shading_are_shares() -> None:
    with pytest.raises(ValueError, match="shares"):
        Shading(lambertian=0.7, textureless=0.7)


def gradient(
    settings: Settings, guidance: Guidance, prompts: Prompts, at_once: int | None, rival: Rival | None = None
) -> tuple[Tensor, Progress]:
    """Of the grid, and what the step said: Adam's mean after one step is a tenth of it."""
    (progress,) = optimise(small_field(), guidance, prompts, settings, seed=7, rival=rival, views_at_once=at_once)
    return progress.state()["optimiser.0.exp_avg"], progress


@pytest.mark.parametrize("rule", [name for name in RULES if name != "bridge"])  # which wants words
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_step_that_takes_its_views_after_each_other_has_the_same_gradient(
    gaussian: Callable[..., Guidance],
    no_prompts: Prompts,
    new_rival: Callable[..., Rival],
    rule: Any,
    at_once: int,
) -> None:
    asked = replace(EVERYTHING.shading, begin=0.0)
    settings = replace(EVERYTHING, steps=1, views=4, rule=rule, shading=asked)
    whole, parts = (
        gradient(settings, gaussian((0.9, 0.2, 0.2)), no_prompts, number, new_rival() if rule == "vsd" else None)
        for number in (None, at_once)
    )
    assert whole[0].norm() > 1e-3
    assert (parts[0] - whole[0]).norm() < 1e-5 * whole[0].norm()
    assert parts[1].losses == pytest.approx(whole[1].losses, rel=1e-5)


def test_what_a_view_takes_is_freed_before_the_next_one(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    shown: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    @dataclass(frozen=True)
    class Watching(Heard):
        def model_space(self, images: Tensor) -> Tensor:
            gc.collect()
            alive.append(sum(len(seen) for reference in shown if (seen := reference()) is not None) + len(images))
            shown.append(weakref.ref(images))
            return self.guidance.model_space(images)

    settings = replace(EVERYTHING, steps=2, views=4)
    guidance = Watching(gaussian((0.9, 0.2, 0.2)), [], [])
    last(optimise(small_field(), guidance, no_prompts, settings, seed=0, views_at_once=1))
    assert alive == [1] * 8
    assert [len(views.cameras.azimuth) for views in guidance.views] == [1] * 8


def test_a_view_that_is_not_finite_is_left_out_wherever_it_is(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    settings = replace(EVERYTHING, steps=1, views=4)

    def step(at_once: int | None, spoilt: Callable[[int], Sequence[int]]) -> tuple[Tensor, Progress]:
        return gradient(settings, heard(gaussian((0.9, 0.2, 0.2)), spoilt), no_prompts, at_once)

    whole, parts = step(None, lambda call: [1, 2]), step(1, lambda call: [0] if call in (1, 2) else [])
    assert whole[1].left_out == parts[1].left_out == 2
    assert (parts[0] - whole[0]).norm() < 1e-5 * whole[0].norm()
    assert parts[1].losses == pytest.approx(whole[1].losses, rel=1e-5)


def test_views_that_see_each_other_are_never_parted() -> None:
    assert groups(4, None, 1) == [slice(0, 4)]
    assert groups(5, 2, 1) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert groups(8, 1, 4) == [slice(0, 4), slice(4, 8)]


@pytest.mark.parametrize(("joint", "different"), [(1, 8), (4, 2)])
def test_views_that_see_each_other_have_one_background(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, joint: int, different: int
) -> None:
    corners: list[Tensor] = []

    @dataclass(frozen=True)
    class Watching(Heard):
        def model_space(self, images: Tensor) -> Tensor:
            corners.append(images[:, :, 0, 0].detach())
            return self.guidance.model_space(images)

    settings = replace(EVERYTHING, steps=1, views=8, rig=True, joint_views=joint)
    last(optimise(small_field(), Watching(gaussian((0.5,) * 3), [], []), no_prompts, settings, seed=0))
    assert len(corners[0].unique(dim=0)) == different
    assert len(corners[0][:joint].unique(dim=0)) == 1
