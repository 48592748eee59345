"""Images that are optimised directly."""

import pytest
import torch

from backend.evaluation import images
from backend.evaluation.runs import Run
from backend.evaluation.suites import job_of, prepared


def test_an_image_becomes_what_was_asked_for_and_is_the_same_again() -> None:
    bench = prepared("builtin", "cpu", None)
    run = Run("2d", "default", "linear", 50, "a blue robot", 3)
    row, image = images.measured(job_of(run, "builtin", "cpu"), run, bench.guidance, bench.net, None)
    assert row.run == run
    assert row.measures["r_precision"] == row.measures["object"] == 1
    assert row.seconds > 0
    short = job_of(Run("2d", "default", "uniform", 3, "a red mug", 3), "builtin", "cpu")
    first, again = (images.optimised(short, bench.guidance) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, image)


def test_an_image_that_is_not_finite_is_a_failure_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "optimised", lambda *_: torch.full((1, 3, 32, 32), torch.nan))
    bench = prepared("builtin", "cpu", None)
    run = Run("2d", "default", "linear", 2, "a blue robot", 3)
    row, _ = images.measured(job_of(run, "builtin", "cpu"), run, bench.guidance, bench.net, None)
    assert row.failure == "the image is not finite"
    assert all(0 <= value <= 1 for value in row.measures.values())
