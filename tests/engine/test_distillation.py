"""The gradient against the formula, against autograd of an explicit surrogate, and through a model with weights."""

from collections.abc import Callable, Sequence

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.engine.cameras import ring
from backend.engine.distillation import gradient, gradient_weight, surrogate
from backend.engine.rules.sds import sds
from backend.engine.rules.step import Step
from backend.engine.schedules import stable_diffusion_abar
from backend.guidance.interface import Guidance, Wishes
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views

ABAR = stable_diffusion_abar()


class OneLayer(nn.Module):
    """A UNet of one convolution, behind a linear map into its space; weights that could take gradients."""

    channels, size, schedule_size, device, abar = 3, 8, 8, torch.device("cpu"), ABAR

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.into = torch.randn(4, 3, generator=generator)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        for parameter in self.conv.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)

    def encode(self, prompts: Sequence[str], endings: Sequence[str] | None = None) -> Float[Tensor, "n L D"]:
        return torch.zeros(len(prompts), 1, 1)

    def plain(self, colours: Float[Tensor, "B 3"]) -> Float[Tensor, "B c"]:
        return colours

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        return torch.einsum("kc,bchw->bkhw", self.into, images)

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        """Unconditionally nothing, conditionally the convolution: cfg times that when guided."""
        outputs = torch.stack([conditioning.mean() * self.conv(noisy) for conditioning in conditionings])
        return Predictions(outputs, noisy, float(ABAR[t]))


@pytest.fixture
def model(generator: torch.Generator) -> OneLayer:
    return OneLayer(generator)


def step(guidance: Guidance, clean: Tensor, t: int, cfg: float, noise: Tensor) -> Step:
    texts = torch.ones(len(clean), 1, 1)
    views = Views.unlit(ring(len(clean), 20))
    return Step(guidance, clean, noise, t, Wishes(texts, 0 * texts), views, cfg, lambda purpose: torch.Generator())


def test_weights() -> None:
    assert gradient_weight("one", 0.3) == 1
    assert gradient_weight("sds", 0.3) == pytest.approx(0.7)
    # Towards clean images there is nothing left to say; towards noise everything.
    assert gradient_weight("sds", 1.0) == 0
    assert gradient_weight("sds", 0.0) == 1


@pytest.mark.parametrize("weight", ["one", "sds"])
@pytest.mark.parametrize("t", [20, 500, 980])
def test_gradient_is_the_formula(model: OneLayer, generator: torch.Generator, weight: str, t: int) -> None:
    clean, noise = torch.randn(2, 2, 4, 8, 8, generator=generator)
    found = gradient(step(model, clean, t, 2.0, noise), sds, weight)
    abar = ABAR[t].float()
    noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
    expected = (1.0 if weight == "one" else 1 - abar) * (2.0 * model.conv(noisy) - noise)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-5)
    assert not found.requires_grad


def test_images_get_the_gradient_of_the_explicit_surrogate(model: OneLayer, generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 8, 8, generator=generator).requires_grad_()
    noise = torch.randn(2, 4, 8, 8, generator=generator)
    clean = model.model_space(images)
    wanted = gradient(step(model, clean, 400, 7.5, noise), sds, "sds")
    surrogate(clean, wanted).backward()
    # d/dx sum(stop_gradient(wanted) * A x) / B = A^T wanted / B
    by_hand = torch.einsum("kc,bkhw->bchw", model.into, wanted) / 2
    assert images.grad is not None
    torch.testing.assert_close(images.grad, by_hand, rtol=1e-4, atol=1e-4)


def test_the_model_is_not_differentiated(model: OneLayer, generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 8, 8, generator=generator).requires_grad_()
    clean = model.model_space(images)
    surrogate(clean, gradient(step(model, clean, 400, 7.5, torch.zeros(2, 4, 8, 8)), sds, "one")).backward()
    assert all(parameter.grad is None for parameter in model.conv.parameters())


def test_the_surrogate_is_half_the_squared_wish_per_view() -> None:
    wanted = torch.tensor([1.0, -2.0, 3.0, 0.0]).reshape(2, 2, 1, 1)
    assert surrogate(torch.zeros(2, 2, 1, 1), wanted).item() == pytest.approx((1 + 4 + 9) / 2 / 2)


@pytest.mark.parametrize("t", [20, 300, 700, 980])
def test_a_gaussian_pulls_towards_its_mean_without_bias(
    gaussian: Callable[..., Guidance], generator: torch.Generator, t: int
) -> None:
    guidance = gaussian(mean=(0.5, 0.5, 0.5), spread=0.1)
    clean = torch.full((4096, 3, 1, 1), 0.6)
    noise = torch.randn(clean.shape, generator=generator)
    found = gradient(step(guidance, clean, t, 1.0, noise), sds, "one")
    abar = float(ABAR[t])
    # E over eps of (eps_hat - eps): the mean is at 0 in the model's space, and noise averages out.
    expected = (1 - abar) ** 0.5 * abar**0.5 * 0.6 / (abar * 0.01 + 1 - abar)
    error = abs((1 - abar) / (abar * 0.01 + 1 - abar) - 1) / (3 * 4096) ** 0.5
    assert found.mean().item() == pytest.approx(expected, abs=4 * error + 1e-5)
