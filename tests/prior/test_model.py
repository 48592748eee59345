import logging
from pathlib import Path

import pytest
import torch

from backend.prior import model
from backend.prior.captions import all_words


@pytest.fixture(scope="module")
def untrained() -> model.Prior:
    return model.build(32)


def test_the_noise_schedule_is_stable_diffusions() -> None:
    scheduler = model.noise_schedule()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, dim=0).float()
    torch.testing.assert_close(scheduler.alphas_cumprod, abar, atol=1e-6, rtol=1e-4)
    # A landmark: about half of the signal's power is left at t = 360 of 1000.
    assert abar[359] == pytest.approx(0.5, abs=0.02)


def test_the_tokenizer_knows_every_caption_word_and_marks_the_rest() -> None:
    tokenizer = model.build_tokenizer()
    ids = tokenizer(" ".join(all_words())).input_ids
    assert tokenizer.unk_token_id not in ids
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("A Red mug, glittering").input_ids)
    assert tokens == ["[BOS]", "a", "red", "mug", ",", "[UNK]", "[EOS]"]


def test_prompts_are_padded_and_cut_to_one_length(untrained: model.Prior) -> None:
    ids = untrained.tokens(["", "a red mug", "red " * 100])
    assert ids.shape == (3, model.TOKENS)
    assert untrained.encode(["", "a red mug"]).shape == (2, model.TOKENS, 128)


def test_a_saved_model_says_the_same_and_saving_leaves_it_as_it_was(untrained: model.Prior, tmp_path: Path) -> None:
    model.save(untrained, tmp_path)
    assert untrained.unet.dtype == torch.float32
    again = model.load(tmp_path)
    x, t = torch.zeros(2, 3, 32, 32), torch.tensor([10, 900])
    with torch.no_grad():
        before, after = (p.unet(x, t, p.encode(["a red mug"] * 2)).sample for p in (untrained, again))
    torch.testing.assert_close(before, after, atol=0.02, rtol=0)


def test_a_larger_model_has_the_same_parts() -> None:
    assert model.build(64).size == 64


def test_loading_says_nothing(untrained: model.Prior, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model.save(untrained, tmp_path)
    with caplog.at_level(logging.WARNING):
        model.load(tmp_path)
    assert caplog.text == ""


def test_a_folder_without_a_model_is_refused_before_anything_is_looked_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        model.load(tmp_path)
