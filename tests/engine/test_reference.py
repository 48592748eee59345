"""What a picture asks for: its loss by hand, its slope by autograd, and a ball that takes its colour from it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from backend.engine.cameras import ring
from backend.engine.fields import VoxelField
from backend.engine.occupancy import Occupancy
from backend.engine.optimise import optimise
from backend.engine.reference import Portrait, Reference
from backend.engine.regularisers import Ramp
from backend.engine.rendering import Rendering, Samples, render
from backend.engine.settings import Likeness, Settings
from backend.engine.shots import Prompts
from backend.guidance.interface import Guidance

FRONT = ring(1, 0)
GREEN = (0.1, 0.8, 0.2)
AT_ONCE = Likeness(silhouette=100.0, colour=100.0, growth=Ramp(1.0, 1.0))


def rendering(colour: torch.Tensor, opacity: torch.Tensor) -> Rendering:
    nothing = torch.zeros(0)
    samples = Samples(torch.zeros(0, dtype=torch.long), nothing, torch.zeros(0, 3))
    return Rendering(colour, opacity, opacity, samples, nothing, torch.zeros(opacity.numel(), 3))


def test_the_loss_is_half_of_the_squared_differences() -> None:
    wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    colour = torch.stack([wanted, 0.5 * wanted, 0 * wanted])
    seen = rendering(torch.full((1, 3, 2, 2), 0.5), torch.full((1, 2, 2), 0.5))
    terms = Reference(FRONT, wanted, colour).terms(seen)
    assert terms["silhouette"].item() == pytest.approx(4 * 0.25 / 2)
    # Red differs by 1/2 everywhere, green by 0 and 1/2, blue by 1/2.
    assert terms["colour"].item() == pytest.approx((4 + 2 + 4) * 0.25 / 2)


def test_of_a_sketch_the_outline_alone_counts() -> None:
    seen = rendering(torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2))
    assert set(Reference(FRONT, torch.ones(2, 2)).terms(seen)) == {"silhouette"}


def test_a_larger_picture_is_averaged() -> None:
    stripes = torch.tensor([1.0, 0.0]).repeat(8, 4)
    seen = rendering(torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), 0.5))
    assert Reference(FRONT, stripes).terms(seen)["silhouette"].item() == pytest.approx(0, abs=0.05)  # 2 if it were not


def test_the_slope_is_the_difference() -> None:
    opacity = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    wanted = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    Reference(FRONT, wanted).terms(rendering(torch.zeros(1, 3, 4, 4), opacity))["silhouette"].backward()
    assert opacity.grad is not None
    torch.testing.assert_close(opacity.grad[0], opacity.detach()[0] - wanted)


def test_a_field_takes_the_colour_of_the_picture_rather_than_what_the_guidance_says(
    ball: Any, gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    seen = render(ball, FRONT, 24, Occupancy.of(ball, 16, 0.5, torch.device("cpu")), 0.02)
    opacity = seen.opacity[0].detach()
    reference = Reference(FRONT, opacity, torch.tensor(GREEN)[:, None, None] * opacity)
    settings = Settings(steps=60, views=2, learning_rate=0.05, spacing=0.05, occupancy_resolution=16)

    def tint(settings: Settings) -> torch.Tensor:
        field = type(ball)()
        for progress in optimise(
            field, gaussian((0.9, 0.1, 0.1)), no_prompts, settings, 0, portrait=Portrait(reference)
        ):
            assert set(progress.losses) == {"guidance", "silhouette", "colour"}
        return field.tint.detach()

    heard = tint(replace(settings, likeness=AT_ONCE))
    torch.testing.assert_close(heard, torch.tensor(GREEN), atol=0.1, rtol=0)
    deaf = tint(replace(settings, likeness=replace(AT_ONCE, silhouette=1e-6, colour=1e-6)))
    torch.testing.assert_close(deaf, torch.tensor((0.9, 0.1, 0.1)), atol=0.05, rtol=0)


class Noting(Portrait):
    """Keeps the sides of the views that it is compared with."""

    sides: ClassVar[list[int]] = []

    def terms(self, rendering: Rendering) -> dict[str, torch.Tensor]:
        self.sides.append(rendering.opacity.shape[-1])
        return super().terms(rendering)


@pytest.mark.parametrize(("pixels", "side"), [(40, 40), (16, 24)])
def test_a_picture_is_looked_at_more_finely_than_by_a_model_of_few_pixels(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, ball: Any, pixels: int, side: int
) -> None:
    settings = Settings(steps=1, views=2, occupancy_resolution=16, likeness=replace(AT_ONCE, pixels=pixels))
    portrait = Noting(Reference(FRONT, torch.ones(48, 48)))
    Noting.sides.clear()
    list(optimise(ball, gaussian((0.5,) * 3, size=24), no_prompts, settings, 0, portrait=portrait))
    assert Noting.sides == [side]


def test_a_field_comes_to_look_like_the_picture_from_the_front(
    gaussian: Callable[..., Guidance], no_prompts: Prompts
) -> None:
    """A disc, green above and red below, where the guidance would have all of it grey."""
    axis = (torch.arange(48) + 0.5) / 24 - 1
    opacity = (torch.hypot(axis[:, None], axis[None]) < 0.6).float()
    above = (axis < 0)[:, None].expand(48, 48)
    colour = torch.where(above, torch.tensor(GREEN)[:, None, None], torch.tensor((0.8, 0.1, 0.1))[:, None, None])
    reference = Reference(FRONT, opacity, colour * opacity)
    settings = Settings(steps=60, views=2, cfg=1.0, spacing=0.05, occupancy_resolution=16, likeness=AT_ONCE)
    field, portrait = VoxelField(sizes=(8, 16)), Portrait(reference)
    *_, last = optimise(field, gaussian((0.5,) * 3, size=24), no_prompts, settings, 0, portrait=portrait)
    seen = last.render(FRONT, 48)
    error = (seen.colour - portrait.reference.pictured(48).colour).square().mean()
    assert -10 * torch.log10(error) > 20


def disc(radius: float, size: int) -> torch.Tensor:
    """Opacity of a disc. radius: a share of half the side."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    return (torch.hypot(axis[:, None], axis[None]) < radius).float()


@pytest.mark.parametrize("share", [0.5, 0.8, 1.1])
def test_a_picture_becomes_as_large_as_what_is_seen_and_stays_so(share: float) -> None:
    portrait = Portrait(Reference(FRONT, disc(0.6, 200), disc(0.6, 200).expand(3, -1, -1)))
    assert len(portrait.reference.opacity) == 200
    blank = torch.zeros(1, 3, 64, 64)
    portrait.terms(rendering(blank, disc(0.6 * share, 64)[None]))
    placed = portrait.reference
    assert len(placed.opacity) == pytest.approx(200 / share, rel=0.03)
    assert (placed.shown(64) - disc(0.6 * share, 64)).abs().mean() < 0.02
    portrait.terms(rendering(blank, disc(0.3, 64)[None]))
    assert portrait.reference is placed


def test_with_a_border_the_same_pixels_are_in_the_middle() -> None:
    picture = Reference(FRONT, torch.rand(6, 6, generator=torch.Generator().manual_seed(0)))
    larger = picture.bordered(2)
    assert torch.equal(larger.opacity[2:8, 2:8], picture.opacity)
    assert larger.opacity.sum() == pytest.approx(picture.opacity.sum())
    assert torch.equal(larger.bordered(-2).opacity, picture.opacity)


def test_a_portrait_is_the_same_after_it_was_kept() -> None:
    picture = Reference(FRONT, disc(0.6, 100))
    before, after = Portrait(picture), Portrait(picture)
    after.restore(before.state())
    assert after.reference is picture
    before.terms(rendering(torch.zeros(1, 3, 32, 32), disc(0.4, 32)[None]))
    after.restore(before.state())
    assert torch.equal(after.reference.opacity, before.reference.opacity)


def test_the_words_come_first(gaussian: Callable[..., Guidance], no_prompts: Prompts, ball: Any) -> None:
    settings = Settings(steps=10, views=2, occupancy_resolution=16)
    picture = Portrait(Reference(FRONT, torch.ones(48, 48)))
    steps = optimise(ball, gaussian((0.5,) * 3, size=24), no_prompts, settings, 0, portrait=picture)
    kept_to = ["silhouette" in progress.losses for progress in steps]
    assert kept_to == 4 * [False] + 6 * [True]
