"""What an output stands for, by the definition of each kind."""

from typing import Any, get_args

import pytest
import torch

from backend.guidance.folders import Prediction
from backend.guidance.predictions import Predictions, target


@pytest.mark.parametrize("kind", get_args(Prediction))
@pytest.mark.parametrize("abar", [0.999, 0.5, 0.005])
def test_every_kind_of_output_tells_noise_and_image_apart(abar: float, kind: Any, generator: torch.Generator) -> None:
    clean, eps = torch.randn(2, 1, 3, 4, 4, generator=generator, dtype=torch.float64)
    noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * eps
    v = abar**0.5 * eps - (1 - abar) ** 0.5 * clean
    output = {"epsilon": eps, "v_prediction": v, "sample": clean}[kind]
    said = Predictions(output[None], noisy, abar, kind)
    torch.testing.assert_close(said.eps(output), eps)
    torch.testing.assert_close(said.clean(output), clean)
    torch.testing.assert_close(target(kind, clean, eps, torch.full((1, 1, 1, 1), abar, dtype=torch.float64)), output)


@pytest.mark.parametrize("kind", get_args(Prediction))
def test_combined_before_or_after_it_is_the_same_noise(kind: Any, generator: torch.Generator) -> None:
    noisy, one, other = torch.randn(3, 1, 3, 4, 4, generator=generator, dtype=torch.float64)
    said = Predictions(torch.stack([one, other]), noisy, 0.3, kind)
    after = said.eps(one) + 7.5 * (said.eps(other) - said.eps(one))
    torch.testing.assert_close(said.eps(one + 7.5 * (other - one)), after)
