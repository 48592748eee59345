"""Images that are optimised directly."""

import torch

from backend.evaluation import images
from backend.evaluation.objects import job_of
from backend.evaluation.runs import Run
from backend.evaluation.suites import prepared


def test_an_image_becomes_what_was_asked_for_and_is_the_same_again() -> None:
    bench = prepared("builtin", "cpu", None)
    run = Run("2d", "default", "linear", 50, "a blue robot", 3)
    row, image = images.measured(job_of(run, "builtin", "cpu"), run, bench.guidance, bench.net, None)
    assert row.run == run
    assert row.measures["r_precision"] == row.measures["object"] == 1
    assert row.seconds > 0
    assert (image.min(), image.max()) >= (0, 0)
    assert image.max() <= 1
    short = job_of(Run("2d", "default", "uniform", 3, "a red mug", 3), "builtin", "cpu")
    first, again = (images.optimised(short, bench.guidance) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, image)
