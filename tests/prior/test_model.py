import logging
from pathlib import Path

import pytest
import torch

from backend.guidance.views import FEATURES
from backend.prior import model, network
from backend.prior.network import Architecture


@pytest.fixture(scope="module")
def untrained() -> model.Prior:
    small = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)
    return network.build(32, ["a", "mug", "red"], small, seed=0)


def test_the_noise_schedule_is_stable_diffusions() -> None:
    scheduler = model.noise_schedule()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, dim=0).float()
    torch.testing.assert_close(scheduler.alphas_cumprod, abar, atol=1e-6, rtol=1e-4)
    # A landmark: about half of the signal's power is left at t = 360 of 1000.
    assert abar[359] == pytest.approx(0.5, abs=0.02)


def test_a_saved_model_says_the_same_and_saving_leaves_it_as_it_was(untrained: model.Prior, tmp_path: Path) -> None:
    model.save(untrained, tmp_path)
    assert untrained.unet.dtype == torch.float32
    again = model.load(tmp_path)
    x, t, views = torch.zeros(2, 18, 16, 16), torch.tensor([10, 900]), torch.zeros(2, FEATURES)
    with torch.no_grad():
        before, after = (
            p.unet(x, t, p.encode(["a red mug"] * 2), class_labels=views).sample for p in (untrained, again)
        )
    torch.testing.assert_close(before, after, atol=0.02, rtol=0)


def test_a_saved_model_does_not_tell_where_it_was_loaded_from(untrained: model.Prior, tmp_path: Path) -> None:
    model.save(untrained, tmp_path / "first")
    model.save(model.load(tmp_path / "first"), tmp_path / "second")
    assert not [path for path in tmp_path.glob("second/*/*.json") if str(tmp_path) in path.read_text()]


def test_loading_says_nothing(untrained: model.Prior, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model.save(untrained, tmp_path)
    with caplog.at_level(logging.WARNING):
        model.load(tmp_path)
    assert caplog.text == ""


def test_a_folder_without_a_model_is_refused_before_anything_is_looked_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        model.load(tmp_path)
