"""A model whose exact score is known for every prompt, and steps that ask it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.randomness import generator
from backend.engine.rules.step import Step
from backend.engine.schedules import stable_diffusion_abar
from backend.guidance.interface import Wishes
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views

ABAR = stable_diffusion_abar()
POSITIVE, NEGATIVE, BETTER, WORSE = 0.5, -0.3, 0.9, -0.8
"""The mean of the images that each prompt stands for: a prompt's only number."""


@dataclass
class LinearGaussian:
    """Every prompt's images are N(its number, spread^2). asked: the timestep and the prompts' numbers of each call."""

    spread: float = 0.4
    asked: list[tuple[int, list[float]]] = field(default_factory=list)
    abar: Tensor = field(default_factory=lambda: ABAR)
    size: int = 2
    schedule_size: int = 2
    channels: int = 3
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def encode(self, prompts: Sequence[str], endings: Sequence[str] | None = None) -> Float[Tensor, "n L D"]:
        raise NotImplementedError

    def plain(self, colours: Float[Tensor, "B 3"]) -> Float[Tensor, "B c"]:
        return colours

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        return images

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        self.asked.append((t, [round(text.mean().item(), 3) for text in conditionings]))
        eps = torch.stack([self.eps(noisy, t, text[:, :, None]) for text in conditionings])
        # As a model would put it that predicts v.
        abar = float(ABAR[t])
        return Predictions((eps - (1 - abar) ** 0.5 * noisy) / abar**0.5, noisy, abar, "v_prediction")

    def eps(self, noisy: Tensor, t: int, mean: float | Tensor) -> Tensor:
        """E[eps | z_t]."""
        abar = float(ABAR[t])
        return (1 - abar) ** 0.5 * (noisy - abar**0.5 * mean) / (abar * self.spread**2 + 1 - abar)

    def guided(self, noisy: Tensor, t: int, cfg: float) -> Tensor:
        negative, positive = (self.eps(noisy, t, mean) for mean in (NEGATIVE, POSITIVE))
        return negative + cfg * (positive - negative)


@dataclass
class Knowing:
    """A rival that knows the renders to be N(mean, spread^2), and what it was given to learn."""

    mean: float = 0.1
    spread: float = 0.7
    asked: list[tuple[Tensor, int, list[float]]] = field(default_factory=list)
    learnt: list[tuple[Tensor, Tensor, Tensor, Tensor, Views]] = field(default_factory=list)

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        self.asked.append((noisy, t, [round(text.mean().item(), 3) for text in conditionings]))
        eps = LinearGaussian(self.spread).eps(noisy, t, self.mean)
        return Predictions(eps.expand(len(conditionings), *eps.shape), noisy, float(ABAR[t]))

    def learn(
        self,
        clean: Float[Tensor, "B C h w"],
        noise: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        conditioning: Float[Tensor, "B L D"],
        views: Views,
    ) -> float:
        self.learnt.append((clean, noise, t, conditioning, views))
        return 0.25

    def state(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def restore(self, state: dict[str, Tensor]) -> None:
        raise NotImplementedError


@pytest.fixture
def model() -> LinearGaussian:
    return LinearGaussian()


@pytest.fixture
def rival() -> Knowing:
    return Knowing()


def texts(number: float, count: int) -> Tensor:
    return torch.full((count, 1, 1), number, dtype=torch.float64)


@pytest.fixture
def step(model: LinearGaussian, rival: Knowing) -> Callable[..., Step]:
    """A step with a few images, in double precision."""

    def make(t: int = 500, cfg: float = 7.5, seed: int = 0, perp_neg: bool = False, count: int = 3) -> Step:
        clean, noise = torch.randn(2, count, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        wishes = Wishes(
            texts(POSITIVE, count),
            texts(NEGATIVE, count),
            texts(0.2, count)[:, None] if perp_neg else None,
            torch.full((count, 1), -1.0, dtype=torch.float64) if perp_neg else None,
            texts(BETTER, count),
            texts(WORSE, count),
        )
        views = Views.unlit(ring(count, 20))
        return Step(model, clean, noise, t, wishes, views, cfg, lambda purpose: generator(seed, 0, purpose), rival)

    return make
