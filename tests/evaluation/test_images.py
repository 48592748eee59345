"""Images that are optimised directly."""

from typing import Any

import pytest
import torch

from backend.engine import distillation
from backend.evaluation import images
from backend.evaluation.runs import Run
from backend.evaluation.suites import job_of, prepared


def test_an_image_becomes_what_was_asked_for_and_is_the_same_again() -> None:
    bench = prepared("builtin", "cpu", None)
    run = Run("2d", "default", "linear", 50, "a red mushroom", 3)
    row, image = images.measured(job_of(run, "builtin", "cpu"), run, bench.guidance, bench.jury)
    assert row.run == run
    assert row.measures["r_precision"] == row.measures["few"] == 1
    assert row.seconds > 0
    short = job_of(Run("2d", "default", "uniform", 3, "a red mug", 3), "builtin", "cpu")
    (first, _), (again, _) = (images.optimised(short, bench.guidance) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, image)


def test_a_gradient_that_is_not_finite_ends_a_run_before_it_spoils_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = distillation.gradient
    steps = iter(range(9))

    def spoilt(*given: Any) -> torch.Tensor:
        return whole(*given) * (torch.nan if next(steps) == 2 else 1.0)

    monkeypatch.setattr(distillation, "gradient", spoilt)
    bench = prepared("builtin", "cpu", None)
    run = Run("2d", "default", "linear", 5, "a blue robot", 3)
    row, image = images.measured(job_of(run, "builtin", "cpu"), run, bench.guidance, bench.jury)
    assert row.failure == "the gradient is not finite at step 2"
    assert image.isfinite().all()
    assert all(0 <= value <= 1 for value in row.measures.values())
