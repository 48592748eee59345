"""Times before the first step, by hand."""

from pathlib import Path

import pytest
import torch

from backend.benches import random_models
from backend.guidance import library
from backend.pipeline import estimate
from backend.pipeline.presets import preset

TFLOP = 1e12


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a model of each kind is made of, without its weights."""
    root = tmp_path_factory.mktemp("models")
    for kind in random_models.KINDS:
        with torch.device("meta"):
            modules = random_models.true_sized(kind)
        for part in ("unet", "vae"):
            modules[part].save_config(root / kind / part)
    return root


def of_preset(folder: Path, name: str) -> float:
    multi_view = folder.name == "mvdream"
    chosen = preset(name, small=False, device="cuda", multi_view=multi_view)
    found = estimate.work_of_step(folder, chosen.views, chosen.perp_neg)
    assert found
    return found


def test_a_step_with_stable_diffusion_is_its_predictions_and_its_encodings(models: Path) -> None:
    """0.803 TFLOP a prediction, 2.268 an encoding there and back, and a fifth for all that is not the model's."""
    assert of_preset(models / "sd1", "draft") == pytest.approx(1.2 * 2 * (2 * 0.803 + 2.268) * TFLOP, rel=1e-3)
    assert of_preset(models / "sd1", "standard") == pytest.approx(1.2 * 4 * (4 * 0.803 + 2.268) * TFLOP, rel=1e-3)
    latents = estimate.work_of_step(models / "sd1", 4, perp_neg=True, latent_field=True)
    assert latents == pytest.approx(1.2 * 16 * 0.803 * TFLOP, rel=1e-3)


def test_a_model_that_needs_no_words_for_views_is_asked_twice(models: Path) -> None:
    plain = estimate.work_of_step(models / "mvdream", 4, perp_neg=False)
    assert of_preset(models / "mvdream", "standard") == plain


def test_a_draft_on_an_rtx_3060_takes_minutes_and_a_standard_object_hours(models: Path) -> None:
    """At 12 TFLOP/s, half of what its tensor cores have for half precision with single sums."""
    minutes = {
        name: estimate.of_steps(of_preset(models / "sd1", name) / (12 * TFLOP), steps, name) / 60
        for name, steps in (("draft", 1_000), ("standard", 5_000))
    }
    assert minutes["draft"] == pytest.approx(13, abs=1)
    assert minutes["standard"] == pytest.approx(183, abs=2)


def test_of_a_small_model_the_arithmetic_says_nothing() -> None:
    assert estimate.work_of_step(library.builtin().folder, 4, perp_neg=False) is None
