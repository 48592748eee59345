"""A model's rival: what it says before and after it has learnt, how it goes on after a stop, and what stays as is."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.engine.cameras import CameraDistribution, Cameras
from backend.engine.shading import LightDistribution
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.guidance.lora import RANK, LoraRival
from backend.guidance.precision import Precision
from backend.guidance.views import Views, shown

CPU = torch.device("cpu")
KINDS = ["sd1", "sd2", "if", "prior", "told"]
T = 600
Loads = Callable[..., DiffusionGuidance]


@pytest.fixture
def own(folders: dict[str, Path]) -> Loads:
    """A model that no other test sees: a rival changes what it consists of."""

    def loaded(kind: str, precision: Precision = "fp32") -> DiffusionGuidance:
        return load(folders[kind], CPU, precision)

    return loaded


def new(guidance: DiffusionGuidance, seed: int = 0, rate: float = 1e-4) -> LoraRival:
    return LoraRival(guidance, torch.Generator().manual_seed(seed), rate)


def lit(count: int, seed: int = 0, joint: int = 1) -> Views:
    draws = torch.Generator().manual_seed(seed)
    toward = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, -1)
    return Views(CameraDistribution().rigs(1, count, draws), LightDistribution().sample(toward, draws), joint)


class Lesson:
    """Images with noise, timesteps, a prompt and views: what a rival learns."""

    def __init__(self, guidance: DiffusionGuidance, count: int = 2, seed: int = 0) -> None:
        draws = torch.Generator().manual_seed(seed)
        unet = guidance.parts.unet.config
        shape = (count, min(unet.in_channels, unet.out_channels), unet.sample_size, unet.sample_size)
        self.clean, self.noise = torch.randn(2, *shape, generator=draws)
        self.t = torch.randint(1000, (count,), generator=draws)
        self.text = guidance.encode(["a red mug"]).expand(count, -1, -1)
        self.views = lit(count)

    def given_to(self, rival: LoraRival) -> float:
        return rival.learn(self.clean, self.noise, self.t, self.text, self.views)

    def asked(self, model: LoraRival | DiffusionGuidance, views: Views | None = None) -> Tensor:
        return model.predict(self.clean, T, [self.text], views or self.views).outputs


@pytest.mark.parametrize("kind", KINDS)
def test_before_it_has_learnt_anything_it_says_what_the_model_says(own: Loads, kind: str) -> None:
    guidance = own(kind)
    lesson = Lesson(guidance)
    before = lesson.asked(guidance)
    assert torch.equal(lesson.asked(new(guidance)), before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_itself_stays_as_it_was_and_is_there_once(own: Loads, kind: str) -> None:
    guidance = own(kind)
    lesson, frozen = Lesson(guidance), {id(parameter) for parameter in guidance.parts.unet.parameters()}
    before = lesson.asked(guidance)
    rival = new(guidance)
    for _ in range(3):
        lesson.given_to(rival)
    assert torch.equal(lesson.asked(guidance), before)
    assert not torch.equal(lesson.asked(rival), before)
    assert torch.equal(lesson.asked(guidance), before)
    added = [parameter for parameter in guidance.parts.unet.parameters() if id(parameter) not in frozen]
    assert len(frozen) == len(list(guidance.parts.unet.parameters())) - len(added)
    assert added
    assert all(RANK in parameter.shape for parameter in added)
    assert not any(parameter.requires_grad for parameter in guidance.parts.unet.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_its_loss_is_how_far_the_network_is_from_telling_the_noise(own: Loads, kind: str) -> None:
    guidance = own(kind)
    lesson, unet = Lesson(guidance), guidance.parts.unet
    abar = guidance.abar[lesson.t].float()[:, None, None, None]
    noisy = abar.sqrt() * lesson.clean + (1 - abar).sqrt() * lesson.noise
    labels = lesson.views.features if kind == "told" else None
    with torch.no_grad():
        seen = shown(noisy, labels, unet.config.in_channels)
        output = unet(seen, lesson.t, lesson.text, class_labels=labels).sample[:, : noisy.shape[1]]
    # Both of the priors predict v, as does sd2.
    v = abar.sqrt() * lesson.noise - (1 - abar).sqrt() * lesson.clean
    wanted = lesson.noise if kind in ("sd1", "if") else v
    expected = (output - wanted).square().mean().item()
    assert lesson.given_to(new(guidance)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_it_learns_what_is_seen_from_where_by_a_model_that_is_not_told(own: Loads, kind: str) -> None:
    guidance = own(kind)
    rival, lesson = new(guidance, rate=0.02), Lesson(guidance, count=4)
    # What is as good as invisible at this timestep, and as good as all that any kind of model is to tell of it.
    lesson.noise = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None, None].expand_as(lesson.noise)
    lesson.t[:] = 1
    losses = [lesson.given_to(rival) for _ in range(80)]
    assert losses[-1] < 0.5 * losses[0]

    def wrong(views: Views) -> float:
        said = rival.predict(lesson.clean, 1, [lesson.text], views)
        return (said.eps(said.outputs[0]) - lesson.noise).square().mean().item()

    turned = Views(Cameras(*(column.roll(1) for column in lesson.views.cameras.columns)), lesson.views.lights)
    assert wrong(lesson.views) < 0.5 * wrong(turned)


@pytest.mark.parametrize("rate", [1e-4, 1e-2])
def test_its_first_step_is_as_long_as_its_rate_however_steep_it_is(own: Loads, rate: float) -> None:
    guidance = own("sd1")
    rival = new(guidance, rate=rate)
    Lesson(guidance).given_to(rival)
    moved = [found for name, found in rival.state().items() if "lora_B" in name and name.endswith("weight")]
    assert moved
    for weights in moved:  # from zero
        torch.testing.assert_close(weights.detach().abs(), torch.full_like(weights, rate))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rival_that_goes_on_learns_as_one_that_never_stopped(own: Loads, kind: str, precision: Precision) -> None:
    guidance = own(kind, precision)
    lessons = [Lesson(guidance, seed=seed) for seed in range(5)]

    def after(rival: LoraRival, some: list[Lesson]) -> tuple[Tensor, dict[str, Tensor]]:
        for lesson in some:
            lesson.given_to(rival)
        return lessons[0].asked(rival), {name: found.detach().clone() for name, found in rival.state().items()}

    whole, whole_state = after(new(guidance), lessons)
    _, state = after(new(guidance), lessons[:2])
    rival = new(guidance, seed=1)  # restored, it has nothing left of its own
    rival.restore(state)
    resumed, resumed_state = after(rival, lessons[2:])
    assert torch.equal(whole, resumed)
    assert whole_state.keys() == resumed_state.keys()
    assert all(torch.equal(whole_state[name], resumed_state[name]) for name in whole_state)
    assert {tensor.dtype for tensor in whole_state.values()} == {torch.float32}


@pytest.mark.parametrize(("joint", "pictures"), [(1, [1, 1, 1, 1]), (2, [2, 2])])
def test_with_little_memory_it_learns_the_same_of_fewer_pictures_at_a_time(
    own: Loads, joint: int, pictures: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    guidance = own("told")
    lesson = Lesson(guidance, count=4)
    lesson.views = lit(4, joint=joint)
    whole = new(guidance)
    loss = lesson.given_to(whole)
    expected = {name: found.detach().clone() for name, found in whole.state().items()}
    shown: list[int] = []
    call = DiffusionGuidance._outputs
    monkeypatch.setattr(DiffusionGuidance, "_outputs", lambda *asked: shown.append(len(asked[1])) or call(*asked))
    lean = new(guidance.lean(1))
    assert lesson.given_to(lean) == pytest.approx(loss, rel=1e-5)
    assert shown == pictures
    for name, found in lean.state().items():
        if name.endswith("exp_avg"):  # the slope itself, a tenth of it
            torch.testing.assert_close(found, expected[name], atol=1e-6, rtol=1e-3)


def test_it_begins_as_its_draws_have_it_and_leaves_torchs_own_alone(own: Loads) -> None:
    guidance = own("sd1")
    torch.manual_seed(5)
    states = [{name: found.clone() for name, found in new(guidance, seed).state().items()} for seed in (0, 0, 1)]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("spoilt", ["clean", "noise"])
def test_from_what_is_not_finite_it_learns_nothing(own: Loads, spoilt: str) -> None:
    guidance = own("sd1")
    rival, lesson = new(guidance), Lesson(guidance)
    lesson.given_to(rival)
    before = {name: found.detach().clone() for name, found in rival.state().items()}
    getattr(lesson, spoilt)[0, 0, 0, 0] = torch.inf
    assert math.isnan(lesson.given_to(rival))
    assert all(torch.equal(before[name], found) for name, found in rival.state().items())
    assert math.isfinite(Lesson(guidance).given_to(rival))


def test_slopes_that_are_not_finite_are_not_learnt_either(own: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    guidance = own("sd1")
    rival, lesson = new(guidance), Lesson(guidance)
    outputs: Any = guidance.outputs

    def steep(*asked: Any) -> Any:
        # Square roots are finite at 0, their slope is not.
        return ((part, found + (found - found.detach()).abs().sqrt()) for part, found in outputs(*asked))

    monkeypatch.setattr(guidance, "outputs", steep)
    assert math.isnan(lesson.given_to(rival))
    monkeypatch.undo()
    assert torch.equal(lesson.asked(rival), lesson.asked(guidance))


@pytest.mark.parametrize("kind", ["sd1", "told"])
def test_a_new_rival_takes_the_place_of_the_one_before(own: Loads, kind: str) -> None:
    guidance = own(kind)
    lesson = Lesson(guidance)
    lesson.given_to(new(guidance))
    count = len(list(guidance.parts.unet.parameters()))
    assert torch.equal(lesson.asked(new(guidance)), lesson.asked(guidance))
    assert len(list(guidance.parts.unet.parameters())) == count


def test_an_error_in_the_network_leaves_the_model_switched_back(own: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    guidance = own("sd1")
    rival, lesson = new(guidance), Lesson(guidance)
    lesson.given_to(rival)
    before = lesson.asked(guidance)

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(guidance.parts.unet, "forward", full)
        with pytest.raises(torch.OutOfMemoryError):
            lesson.given_to(rival)
    assert torch.equal(lesson.asked(guidance), before)
