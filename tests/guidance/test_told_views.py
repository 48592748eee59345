"""A model that is told how pictures are taken: what its network is given, and who sees whom."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from backend.engine import schedules
from backend.engine.cameras import CameraDistribution
from backend.engine.names import SCHEDULES
from backend.engine.schedules import Table
from backend.engine.shading import LightDistribution
from backend.guidance import folders as folder_facts
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.guidance.views import FEATURES, Views, shown
from backend.prior import model

CPU = torch.device("cpu")
T = 600


@pytest.fixture
def told(guidances: dict[str, DiffusionGuidance]) -> DiffusionGuidance:
    return guidances["told"]


def lit(count: int, joint: int = 1, seed: int = 0) -> Views:
    draws = torch.Generator().manual_seed(seed)
    toward = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, -1)
    return Views(CameraDistribution().rigs(1, count, draws), LightDistribution().sample(toward, draws), joint)


def texts(guidance: DiffusionGuidance, count: int) -> list[Tensor]:
    return [text.expand(count, -1, -1) for text in guidance.encode(["", "a red mug", "a blue car"]).split(1)]


class Calls:
    """How many pictures the network was shown in each call."""

    def __init__(self, guidance: DiffusionGuidance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pictures: list[int] = []
        unet, forward = guidance._parts.unet, guidance._parts.unet.forward

        def counted(batch: Tensor, *given: object, **told: object) -> object:
            self.pictures.append(len(batch))
            return forward(batch, *given, **told)

        monkeypatch.setattr(unet, "forward", counted)


def test_it_predicts_what_diffusers_does_with_the_views_as_class_labels(
    told: DiffusionGuidance, folders: dict[str, Path], generator: torch.Generator
) -> None:
    prior, views, asked = model.load(folders["told"]), lit(3), texts(told, 3)
    noisy = torch.randn(3, 12, 32, 32, generator=generator)
    said = told.predict(noisy, T, asked, views)
    abar = float(told.abar[T])
    for output, text in zip(said.outputs, asked, strict=True):
        with torch.no_grad():
            seen = shown(noisy, views.features, 18)
            v = prior.unet(seen, T, text, class_labels=views.features).sample
        torch.testing.assert_close(output, v, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(said.eps(output), abar**0.5 * v + (1 - abar) ** 0.5 * noisy, atol=1e-5, rtol=1e-5)


def test_all_that_a_step_needs_is_one_call_of_the_network(
    told: DiffusionGuidance, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(told, monkeypatch)
    said = told.predict(torch.randn(4, 12, 32, 32, generator=generator), T, texts(told, 4), lit(4))
    assert said.outputs.shape == (3, 4, 12, 32, 32)
    assert calls.pictures == [12]


def test_pixels_are_folded_into_channels_and_back(told: DiffusionGuidance, generator: torch.Generator) -> None:
    assert (told.channels, told.size) == (3, 64)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    folded = told.model_space(images)
    assert folded.shape == (2, 12, 32, 32)
    # Red, at the odd row and the even column of each two by two.
    torch.testing.assert_close(folded[:, 2], 2 * images[:, 0, 1::2, 0::2] - 1)
    torch.testing.assert_close(told.decode(folded), images)
    # It only moves numbers about: noise is as strong in what is diffused as in the picture.
    torch.testing.assert_close(folded.square().sum(), (2 * images - 1).square().sum())
    assert told.model_space(images[:, :, :16, :16]).shape == (2, 12, 32, 32)


def test_the_model_is_told_the_camera_and_the_light(told: DiffusionGuidance, generator: torch.Generator) -> None:
    noisy, views = torch.randn(2, 12, 32, 32, generator=generator), lit(2)
    lights, cameras = lit(2, seed=1).lights, lit(2, seed=1).cameras
    plain = told.predict(noisy, T, texts(told, 2), views).outputs
    for other in (Views(cameras, views.lights), Views(views.cameras, lights), Views.unlit(views.cameras)):
        assert (told.predict(noisy, T, texts(told, 2), other).outputs - plain).abs().amax((0, 2, 3, 4)).min() > 1e-5


@pytest.mark.parametrize("kind", ["sd1", "if", "prior"])
def test_other_models_take_no_notice(
    kind: str, guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance = guidances[kind]
    noisy = torch.randn(4, guidance._parts.unet.config.in_channels, guidance.size, guidance.size, generator=generator)
    asked = [guidance.encode(["a red mug"]).expand(4, -1, -1)]
    one, other = (guidance.predict(noisy, T, asked, views).outputs for views in (lit(4), lit(4, joint=4, seed=1)))
    assert torch.equal(one, other)


@pytest.mark.parametrize(("joint", "seers"), [(1, {5}), (2, {4, 5}), (4, {4, 5, 6, 7})])
def test_views_see_those_of_their_own_rig(
    told: DiffusionGuidance, generator: torch.Generator, joint: int, seers: set[int]
) -> None:
    noisy = torch.randn(8, 12, 32, 32, generator=generator)
    changed = noisy.clone()
    changed[5] += 1.0
    before, after = (told.predict(each, T, texts(told, 8), lit(8, joint)).outputs for each in (noisy, changed))
    moved = (after - before).abs().amax((2, 3, 4)) > 1e-6
    assert [{view for view in range(8) if by_view[view]} for by_view in moved] == [seers] * 3


@pytest.mark.parametrize(
    ("joint", "at_once", "pictures"),
    [(1, 4, [12]), (1, 2, [6, 6]), (1, 1, [3, 3, 3, 3]), (4, 4, [12]), (4, 2, [4, 4, 4]), (4, 1, [4, 4, 4])],
)
def test_with_little_memory_it_says_the_same_of_fewer_pictures_at_a_time(
    told: DiffusionGuidance,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
    joint: int,
    at_once: int,
    pictures: list[int],
) -> None:
    noisy, views, asked = torch.randn(4, 12, 32, 32, generator=generator), lit(4, joint), texts(told, 4)
    whole = told.predict(noisy, T, asked, views).outputs
    lean = told.lean(at_once)
    calls = Calls(lean, monkeypatch)
    torch.testing.assert_close(lean.predict(noisy, T, asked, views).outputs, whole, atol=1e-5, rtol=1e-5)
    assert calls.pictures == pictures


def test_a_schedule_is_in_stable_diffusions_own_timesteps(told: DiffusionGuidance) -> None:
    t = torch.arange(schedules.T_MIN, schedules.T_MAX + 1, dtype=torch.float64)
    assert schedules.translated(t, told.abar, told.size) == tuple(t.int().tolist())
    for name in SCHEDULES:
        own = schedules.make(name, schedules.stable_diffusion_abar(), 180)
        found = schedules.make(name, told.abar, 180, told.size)
        assert found == own
        assert not isinstance(own, Table) or max(own.timesteps) == schedules.T_MAX


def test_it_works_in_half_precision(folders: dict[str, Path], told: DiffusionGuidance) -> None:
    noisy, views = torch.ones(2, 12, 32, 32), lit(2, joint=2)
    fast = load(folders["told"], CPU, "bf16").predict(noisy, T, texts(told, 2), views).outputs
    exact = told.predict(noisy, T, texts(told, 2), views).outputs
    assert fast.dtype == torch.float32
    assert 0 < (fast - exact).norm() / exact.norm() < 0.05


def test_what_folders_say_of_views_is_what_views_tell() -> None:
    assert lit(3).features.shape == (3, folder_facts.VIEW_FEATURES) == (3, FEATURES)


def test_an_unlit_view_has_ambient_light_alone() -> None:
    views = Views.unlit(lit(2).cameras)
    normals = torch.nn.functional.normalize(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert torch.equal(views.lights.shade(normals), torch.ones(2, 5))
    assert torch.equal(views.features[:, 8:], torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2, -1))
