"""Paint on a ball whose every place is known: what it is before, what it becomes, and that it can be stopped."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.hashgrid import HashGridConfig
from backend.engine.optimise import Progress, Resumption, run
from backend.engine.painting import Paint, Painting, Places, Sight
from backend.engine.regularisers import Ramp
from backend.engine.settings import Detail, Regularisation, Settings, Shading
from backend.engine.shots import Prompts
from backend.guidance.interface import Guidance

RADIUS = 0.7
MEAN = (0.8, 0.3, 0.1)
SMALL = HashGridConfig(levels=4, log2_table=10, base=4, finest=16, hidden=16)
SETTINGS = Settings(
    steps=30,
    views=2,
    learning_rate=0.05,
    final_rate=0.05,
    detail=Detail(size=Ramp(1.0, 2.0)),
    shading=Shading(lambertian=0.5, textureless=0.2),
)


@dataclass(frozen=True)
class Ball:
    """A `Canvas`, blue, which may be painted from `bottom` upwards."""

    bottom: float = -1.0

    def sight(self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]) -> Sight:
        along = -(origins * directions).sum(-1)
        inside = RADIUS**2 - (origins + along[:, None] * directions).square().sum(-1)
        ray = (inside > 0).nonzero()[:, 0]
        distance = along[ray] - inside[ray].sqrt()
        return Sight(ray, distance, self.at((origins[ray] + distance[:, None] * directions[ray]) / RADIUS))

    def at(self, normals: Float[Tensor, "n 3"]) -> Places:
        before = torch.tensor([0.1, 0.2, 0.9]).expand(len(normals), 3)
        return Places(RADIUS * normals, normals, before, normals[:, 2] >= self.bottom)


def new_paint() -> Paint:
    return Paint(torch.Generator().manual_seed(1), SMALL)


def places(canvas: Ball) -> Places:
    """All over the ball."""
    directions = torch.randn(500, 3, generator=torch.Generator().manual_seed(2))
    return canvas.at(torch.nn.functional.normalize(directions, dim=-1))


def painted(canvas: Ball, guidance: Guidance, prompts: Prompts, settings: Settings = SETTINGS) -> Paint:
    paint = new_paint()
    for _ in run(Painting(paint, canvas), guidance, prompts, settings, seed=3):
        pass
    return paint


def test_nothing_is_painted_at_first() -> None:
    canvas = Ball()
    torch.testing.assert_close(new_paint().on(places(canvas)), places(canvas).before, atol=1e-3, rtol=0)
    seen = Painting(new_paint(), canvas).render(ring(2, 20), 16, progress=0.0)
    inside = seen.opacity == 1
    assert 40 < int(inside.sum()) < 400
    assert torch.equal(seen.opacity[~inside], torch.zeros_like(seen.opacity[~inside]))
    for channel, value in enumerate((0.1, 0.2, 0.9)):
        torch.testing.assert_close(seen.colour[:, channel], value * seen.opacity, atol=1e-3, rtol=0)


def test_depth_is_that_of_the_surface() -> None:
    (camera,) = (ring(1, 0),)
    seen = Painting(new_paint(), Ball()).render(camera, 15, progress=0.0)
    assert seen.depth[0, 7, 7].item() == pytest.approx(camera.distance.item() - RADIUS, abs=1e-4)


def test_a_gaussian_score_leads_to_its_mean_all_over(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    canvas = Ball()
    found = painted(canvas, gaussian(mean=MEAN), no_prompts, Settings(steps=150, views=4, learning_rate=0.05))
    seen = places(canvas).normals[:, 2] > math.sin(math.radians(-40))
    colours = found.on(places(canvas))[seen].detach()
    torch.testing.assert_close(colours, torch.tensor(MEAN).expand_as(colours), atol=0.05, rtol=0)


def test_what_is_not_free_keeps_its_colours_to_the_bit(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    canvas = Ball(bottom=0.2)
    all_over = places(canvas)
    colours = painted(canvas, gaussian(mean=MEAN), no_prompts).on(all_over)
    assert torch.equal(colours[~all_over.free], all_over.before[~all_over.free])
    assert (colours[all_over.free] - all_over.before[all_over.free]).abs().max() > 0.1


def test_paint_that_is_asked_to_be_even_has_fewer_spots(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    def spots(weight: float) -> float:
        asked = Regularisation(patches=Ramp(weight, weight))
        paint, settings = new_paint(), replace(SETTINGS, regularisation=asked)
        for _ in run(Painting(paint, Ball(), asked), gaussian(mean=MEAN), no_prompts, settings, seed=3):
            pass
        all_over = places(Ball())
        return paint.on(all_over)[all_over.free].std(0).mean().item()

    assert spots(30.0) < 0.5 * spots(0.0)


@pytest.mark.parametrize("stop", [1, 15, 29])
def test_painting_that_was_stopped_ends_as_if_it_had_not_been(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, stop: int
) -> None:
    def steps(resume: Resumption | None = None) -> Any:
        return run(Painting(new_paint(), Ball()), gaussian(mean=MEAN), no_prompts, SETTINGS, 3, resume)

    def last(progress: Any) -> Progress:
        *_, final = progress
        return final

    whole = last(steps()).state()
    *_, broken = islice(steps(), stop)
    resumed = last(steps(Resumption(stop, broken.state()))).state()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_strength_says_from_which_timestep_on(gaussian: Callable[..., Guidance], no_prompts: Prompts) -> None:
    def timesteps(strength: float) -> list[int]:
        settings = Settings(steps=20, strength=strength)
        paint = Painting(new_paint(), Ball())
        return [progress.t for progress in run(paint, gaussian(mean=MEAN), no_prompts, settings, 0)]

    whole, half = timesteps(1.0), timesteps(0.5)
    # The guidance has pictures of 12 pixels, in which less noise drowns as much.
    assert max(half) < max(whole)
    assert half == sorted(half, reverse=True)
