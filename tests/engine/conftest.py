"""Guidance with a known answer, and a field with one colour."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from backend.engine.cameras import Cameras
from backend.engine.schedules import stable_diffusion_abar
from backend.guidance.interface import Wishes
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views

CPU = torch.device("cpu")
NOTHING = torch.zeros(1, 1, 1)


@dataclass(frozen=True)
class GaussianGuidance:
    """The exact score of N(mean, spread^2) for every pixel: no network, no surprise."""

    mean: tuple[float, float, float]
    spread: float = 0.01
    size: int = 12
    schedule_size: int = 12
    channels: int = 3
    device: torch.device = CPU

    @property
    def abar(self) -> Float[Tensor, " T"]:
        return stable_diffusion_abar()

    def encode(self, prompts: Sequence[str], endings: Sequence[str] | None = None) -> Float[Tensor, "n L D"]:
        return NOTHING.expand(len(prompts), -1, -1)

    def plain(self, colours: Float[Tensor, "B 3"]) -> Float[Tensor, "B c"]:
        return colours

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        if images.shape[-1] != self.size:
            images = nn.functional.interpolate(images, (self.size,) * 2, mode="bilinear", antialias=True)
        return 2 * images - 1

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        """E[eps | z_t] of z_t = sqrt(abar) x + sqrt(1 - abar) eps with x ~ N(mean, spread^2)."""
        abar = float(self.abar[t])
        mean = (2 * torch.tensor(self.mean) - 1)[:, None, None]
        eps = (1 - abar) ** 0.5 * (noisy - abar**0.5 * mean) / (abar * self.spread**2 + 1 - abar)
        return Predictions(eps.expand(len(conditionings), *eps.shape), noisy, abar)


class GaussianRival:
    """Takes all renders for N(mean, spread^2), and learns the mean by what they show in their middle.

    spoilt: in which lessons that fails.
    """

    def __init__(self, spoilt: Callable[[int], bool] = lambda lesson: False) -> None:
        self.mean, self.momentum = torch.zeros(3), torch.zeros(3)
        self.lessons: list[tuple[Tensor, Tensor]] = []
        self._spoilt = spoilt

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        red, green, blue = ((self.mean + 1) / 2).tolist()
        return GaussianGuidance((red, green, blue)).predict(noisy, t, conditionings, views)

    def learn(
        self,
        clean: Float[Tensor, "B C h w"],
        noise: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        conditioning: Float[Tensor, "B L D"],
        views: Views,
    ) -> float:
        self.lessons.append((clean, t))
        if self._spoilt(len(self.lessons)):
            return float("nan")
        middle = clean[:, :, clean.shape[2] // 2, clean.shape[3] // 2].mean(0)
        self.momentum = 0.5 * self.momentum + 0.5 * (middle - self.mean)
        self.mean = self.mean + self.momentum
        return float((middle - self.mean).square().mean())

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "mean.momentum": self.momentum}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.mean, self.momentum = state["mean"], state["mean.momentum"]


class NoPrompts:
    """Prompts for guidance that needs none."""

    def at(self, cameras: Cameras) -> Wishes:
        empty = NOTHING.expand(len(cameras.azimuth), -1, -1)
        return Wishes(empty, empty)


class ColouredBall(nn.Module):
    """A solid ball of radius 0.7 in one learnt colour."""

    def __init__(self) -> None:
        super().__init__()
        self.tint = nn.Parameter(torch.full((3,), 0.5))

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return 200.0 * (x.norm(dim=-1) < 0.7)

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        return self.tint.expand(len(x), 3)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c"]]:
        return self.density(x), self.colour(x)

    def refine(self, progress: float) -> None:
        pass

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        yield [self.tint], 1.0


@pytest.fixture
def gaussian() -> Callable[..., GaussianGuidance]:
    return GaussianGuidance


@pytest.fixture
def new_rival() -> Callable[..., GaussianRival]:
    return GaussianRival


@pytest.fixture
def no_prompts() -> NoPrompts:
    return NoPrompts()


@pytest.fixture
def ball() -> ColouredBall:
    return ColouredBall()
