"""A model whose exact score is known for every prompt, and steps that ask it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from jaxtyping import Float
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


@pytest.fixture
def model() -> LinearGaussian:
    return LinearGaussian()


def texts(number: float, count: int) -> Tensor:
    return torch.full((count, 1, 1), number, dtype=torch.float64)


@pytest.fixture
def step(model: LinearGaussian) -> Callable[..., Step]:
    """A step with three images, in double precision."""

    def make(t: int = 500, cfg: float = 7.5, seed: int = 0, perp_neg: bool = False) -> Step:
        clean, noise = torch.randn(2, 3, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        wishes = Wishes(
            texts(POSITIVE, 3),
            texts(NEGATIVE, 3),
            texts(0.2, 3)[:, None] if perp_neg else None,
            torch.full((3, 1), -1.0, dtype=torch.float64) if perp_neg else None,
            texts(BETTER, 3),
            texts(WORSE, 3),
        )
        views = Views.unlit(ring(3, 20))
        return Step(model, clean, noise, t, wishes, views, cfg, lambda purpose: generator(seed, 0, purpose))

    return make
