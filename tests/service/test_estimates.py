from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.benches import random_models
from backend.guidance import library
from backend.guidance.library import ModelSource
from backend.pipeline.estimate import Expected, work_of_step
from backend.pipeline.presets import PRESETS, preset
from backend.service.estimates import LATEST, Estimates

BUILTIN = library.builtin()
OTHER = replace(BUILTIN, name="owner/name")


def seconds(estimates: Estimates, model: ModelSource, name: str) -> float | None:
    expected = estimates.of(model, name, preset(name, small=True, device="cpu"))
    return expected and expected.seconds


def test_the_median_of_the_latest_jobs_of_the_same_kind_counts() -> None:
    long_ago = [("builtin", "draft", 1000.0)] * LATEST
    lately = [("builtin", "draft", float(seconds)) for seconds in range(LATEST)]
    others = [("builtin", "high", 500.0), ("owner/name", "draft", 700.0)] * LATEST
    estimates = Estimates([*long_ago, *lately, *others], step=9.0)
    assert seconds(estimates, BUILTIN, "draft") == (LATEST - 1) / 2
    assert seconds(estimates, OTHER, "draft") == 700.0


def test_without_jobs_the_steps_of_the_built_in_model_are_counted() -> None:
    estimates = Estimates([], step=0.1)
    found = [seconds(estimates, BUILTIN, name) for name in PRESETS]
    assert found == sorted(found)
    assert found[0] is not None
    assert 12 < found[0] < 27  # draft: 120 steps and the rest
    slower = seconds(Estimates([], step=0.2), BUILTIN, "draft")
    assert slower == pytest.approx(found[0] + 120 * 0.1)  # as long for the rest


def test_what_nobody_knows_is_not_made_up() -> None:
    assert seconds(Estimates([], step=None), BUILTIN, "draft") is None
    assert seconds(Estimates([("builtin", "draft", 9.0)], step=0.1), OTHER, "draft") is None


def test_what_steps_took_before_goes_before_what_they_took_just_now() -> None:
    estimates = Estimates([], step=9.0, steps={("builtin", "draft"): 0.5, ("owner/name", "high"): 2.0})
    assert seconds(estimates, BUILTIN, "draft") == pytest.approx(120 * 0.5 + 6)
    assert seconds(estimates, OTHER, "high") == pytest.approx(800 * 2.0 + 20)
    assert seconds(estimates, OTHER, "draft") is None


def test_steps_are_told_beside_what_whole_jobs_took() -> None:
    estimates = Estimates([("builtin", "draft", 50.0)], step=0.1)
    assert estimates.of(BUILTIN, "draft", preset("draft", small=True, device="cpu")) == Expected(50.0, 0.1)


def test_a_large_model_is_counted_until_it_has_run(tmp_path: Path) -> None:
    with torch.device("meta"):
        modules = random_models.true_sized("sd1")
    for part in ("unet", "vae"):
        modules[part].save_config(tmp_path / part)
    model = ModelSource("owner/name", "owner/name", tmp_path, "c" * 40, "openrail", 4_000_000_000)
    chosen = preset("draft", small=False, device="cuda")
    work = work_of_step(tmp_path, 2, perp_neg=False)
    assert work
    counted = Estimates([], step=0.1, rate=12e12).of(model, "draft", chosen)
    assert counted
    assert (counted.seconds, counted.step) == (pytest.approx(1_000 * work / 12e12 + 6), work / 12e12)
    ran = Estimates([], step=0.1, steps={("owner/name", "draft"): 0.5}, rate=12e12).of(model, "draft", chosen)
    assert ran == Expected(506.0, 0.5)
    assert Estimates([], step=0.1).of(model, "draft", chosen) is None
