"""Numbers by hand."""

import pytest
import torch

from backend.guidance.combination import as_eps, classifier_free, perp_neg


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, len(values), 1, 1)


def test_classifier_free_guidance_by_hand() -> None:
    u, c = image(1.0, 2.0), image(2.0, 0.0)
    torch.testing.assert_close(classifier_free(u, c, 0.0), u)
    torch.testing.assert_close(classifier_free(u, c, 1.0), c)
    # 1 + 10 * 1 and 2 + 10 * -2.
    torch.testing.assert_close(classifier_free(u, c, 10.0), image(11.0, -18.0))


def test_perp_neg_by_hand() -> None:
    u, c = image(1.0, 1.0), image(3.0, 1.0)  # the prompt pulls along the first axis by 2
    against = torch.stack([image(5.0, 4.0), image(1.0, 3.0)], dim=1)  # pulls (4, 3) and (0, 2)
    weights = torch.tensor([[-2.0, -0.5]])
    # At right angles to the first axis: (0, 3) and (0, 2). u + 10 ((2, 0) - 2 (0, 3) - 0.5 (0, 2)).
    torch.testing.assert_close(perp_neg(u, c, against, weights, 10.0), image(21.0, -69.0))


def test_what_the_prompt_shares_with_the_unwanted_is_kept() -> None:
    u, c = image(0.0, 0.0), image(1.0, 2.0)
    parallel = torch.stack([3 * c, -c], dim=1)
    weights = torch.tensor([[-2.0, -2.0]])
    torch.testing.assert_close(perp_neg(u, c, parallel, weights, 7.0), classifier_free(u, c, 7.0))


def test_a_prompt_that_asks_for_nothing_leaves_finite_numbers() -> None:
    u = image(1.0, 2.0)
    found = perp_neg(u, u, torch.stack([image(2.0, 2.0)], dim=1), torch.tensor([[-1.0]]), 7.0)
    torch.testing.assert_close(found, image(-6.0, 2.0))


@pytest.mark.parametrize("abar", [0.999, 0.5, 0.005])
def test_every_kind_of_prediction_stands_for_the_noise_that_was_added(abar: float, generator: torch.Generator) -> None:
    clean, eps = torch.randn(2, 1, 3, 4, 4, generator=generator, dtype=torch.float64)
    noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * eps
    v = abar**0.5 * eps - (1 - abar) ** 0.5 * clean
    torch.testing.assert_close(as_eps(eps, noisy, abar, "epsilon"), eps)
    torch.testing.assert_close(as_eps(v, noisy, abar, "v_prediction"), eps)
    torch.testing.assert_close(as_eps(clean, noisy, abar, "sample"), eps)
