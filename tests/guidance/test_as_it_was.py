"""The rule sds wants of an image, bit for bit, what the program wanted before there were other rules."""

import pytest
import torch
from torch import Tensor

from backend.engine import distillation
from backend.engine.cameras import ring
from backend.engine.rules.choice import rule
from backend.engine.rules.step import Step
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.interface import Wishes
from backend.guidance.loading import load
from backend.guidance.precision import best_precision
from backend.guidance.views import Views, shown
from backend.prior import model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def builtin() -> DiffusionGuidance:
    return load(model.BUILTIN, CPU, best_precision(CPU))


@torch.no_grad()
def gradient_before(
    guidance: DiffusionGuidance, clean: Tensor, t: int, asked: Wishes, views: Views, cfg: float, noise: Tensor
) -> Tensor:
    """Guidance combined what its network says before it took it for noise, which rounds otherwise than after."""
    abar = float(guidance.abar[t])
    noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
    texts = [asked.positive] if cfg == 1 else [asked.negative, asked.positive]
    unet = guidance._parts.unet
    batch = noisy.to(unet.dtype).repeat(len(texts), 1, 1, 1)
    told = views.features.to(unet.dtype).repeat(len(texts), 1)
    batch = shown(batch, told, unet.config.in_channels)
    outputs = unet(batch, t, torch.cat(texts).to(unet.dtype), class_labels=told).sample.float().chunk(len(texts))
    output = outputs[0] if cfg == 1 else outputs[0] + cfg * (outputs[1] - outputs[0])
    eps = abar**0.5 * output + (1 - abar) ** 0.5 * noisy
    return (1.0 - abar) * (eps - noise)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("t", [80, 500, 950])
def test_the_gradient_is_what_it_was(
    builtin: DiffusionGuidance, generator: torch.Generator, t: int, cfg: float
) -> None:
    clean, noise = torch.randn(2, 4, 12, 32, 32, generator=generator)
    positive, negative = (text.expand(4, -1, -1) for text in builtin.encode(["a red mug", ""]).split(1))
    asked, views = Wishes(positive, negative), Views.unlit(ring(4, 20))
    step = Step(builtin, clean, noise, t, asked, views, cfg, lambda purpose: torch.Generator())
    found = distillation.gradient(step, rule("sds", 0.9), "sds")
    assert torch.equal(found, gradient_before(builtin, clean, t, asked, views, cfg, noise))
