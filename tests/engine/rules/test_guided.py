"""Numbers by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from backend.engine.rules import guided
from backend.engine.rules.guided import classifier_free, perp_neg
from backend.engine.rules.step import Step
from backend.guidance.interface import Wishes
from backend.guidance.predictions import Predictions

NEGATIVE, POSITIVE = -0.3, 0.5  # see conftest


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


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_predictions_are_put_together_in_the_order_they_are_asked_for(kind: Any) -> None:
    u, c, one, other = image(1.0, 1.0), image(3.0, 1.0), image(5.0, 4.0), image(1.0, 3.0)
    text = torch.arange(4.0).reshape(4, 1, 1, 1)
    weights = torch.tensor([[-2.0, -0.5]])
    wishes = Wishes(text[1], text[0], text[2:].transpose(0, 1), weights)
    assert [asked.item() for asked in guided.conditionings(wishes)] == [0, 1, 2, 3]
    said = Predictions(torch.stack([u, c, one, other]), u, 0.5, kind)
    torch.testing.assert_close(guided.combined(said, wishes, 10.0), image(21.0, -69.0))
    plain = Wishes(text[1], text[0])
    torch.testing.assert_close(guided.combined(said, plain, 10.0), classifier_free(u, c, 10.0))


@pytest.mark.parametrize(
    ("cfg", "perp_neg", "asked"),
    [(7.5, False, [NEGATIVE, POSITIVE]), (1.0, False, [POSITIVE]), (1.0, True, [NEGATIVE, POSITIVE, 0.2])],
)
def test_a_prediction_that_does_not_count_is_not_asked_for(
    model: Any, step: Callable[..., Step], cfg: float, perp_neg: bool, asked: list[float]
) -> None:
    given = step(t=300, cfg=cfg, perp_neg=perp_neg)
    said, output = guided.ask(given, given.clean, 300, cfg)
    assert model.asked == [(300, asked)]
    if not perp_neg:
        torch.testing.assert_close(said.eps(output), model.guided(given.clean, 300, cfg))
