from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import AutoTokenizer, CLIPTextModel

from backend.guidance.views import FEATURES, shown
from backend.prior import model, network
from backend.prior.model import Prior
from backend.prior.network import Architecture

WORDS = ["a", "an", "jack", "lantern", "mug", "o", "red"]
SMALL = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)


@pytest.fixture(scope="module")
def small() -> Prior:
    return network.build(32, WORDS, SMALL, seed=0)


def predicted(prior: Prior, views: torch.Tensor) -> torch.Tensor:
    """What is said of one noisy picture, for each of the views."""
    image = torch.randn(1, 12, 16, 16, generator=torch.Generator().manual_seed(0))
    count = len(views)
    with torch.no_grad():
        text = prior.encode(["a red mug"] * count)
        seen = shown(image.expand(count, -1, -1, -1), views, prior.unet.config.in_channels)
        return prior.unet(seen, 500, text, class_labels=views).sample


def test_pictures_go_through_it_folded(small: Prior) -> None:
    assert small.fold == 2
    assert small.size == 32
    assert predicted(small, torch.zeros(1, FEATURES)).shape == (1, 12, 16, 16)


def test_the_seed_alone_decides_the_weights(small: Prior) -> None:
    before = torch.get_rng_state()
    again, other = (network.build(32, WORDS, SMALL, seed) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    kept = small.modules().state_dict()
    for name, value in again.modules().state_dict().items():
        assert torch.equal(value, kept[name]), name
    assert not torch.equal(other.unet.conv_in.weight, small.unet.conv_in.weight)


def test_what_it_is_told_of_a_view_changes_what_it_says(small: Prior) -> None:
    plain, *told = predicted(small, torch.cat([torch.zeros(1, FEATURES), torch.eye(FEATURES)]))
    for feature in told:
        assert (feature - plain).abs().max() > 1e-4


def test_plain_diffusers_and_transformers_classes_load_the_folder(small: Prior, tmp_path: Path) -> None:
    model.save(small, tmp_path)
    plain = Prior(
        unet=UNet2DConditionModel.from_pretrained(tmp_path / "unet", torch_dtype=torch.float32),
        text_encoder=CLIPTextModel.from_pretrained(tmp_path / "text_encoder", dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(tmp_path / "tokenizer"),
        scheduler=DDIMScheduler.from_pretrained(tmp_path / "scheduler"),
    )
    views = torch.linspace(-1, 1, FEATURES)[None]
    expected = predicted(small, views)
    torch.testing.assert_close(predicted(plain, views), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(predicted(model.load(tmp_path), views), predicted(plain, views))
    assert plain.tokens(["a red mug"]).tolist() == small.tokens(["a red mug"]).tolist()


def test_words_are_whole_and_others_are_unknown(small: Prior) -> None:
    ids = small.tokenizer("A R\u00e9d mug-like jack-o'-lantern, [UNK]").input_ids
    tokens = small.tokenizer.convert_ids_to_tokens(ids)
    expected = ["[BOS]", "a", "red", "mug", "[UNK]", "jack", "o", "lantern", "[UNK]", "[UNK]", "[EOS]"]
    assert tokens == expected
    assert len(small.tokenizer) == 4 + len(WORDS)


def test_prompts_are_padded_and_cut_to_one_length(small: Prior) -> None:
    assert small.tokens(["", "a red mug", "red " * 100]).shape == (3, network.TOKENS)
    assert small.encode(["", "a red mug"]).shape == (2, network.TOKENS, 32)


def test_the_model_as_it_ships_is_small(tmp_path: Path) -> None:
    # Half as many words again as the built-in one knows.
    prior = network.build(64, [f"word{index}" for index in range(1500)], Architecture(), seed=0)
    count = sum(parameter.numel() for parameter in prior.modules().parameters())
    assert 14e6 < count < 16e6
    model.save(prior, tmp_path)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(sizes) <= 32e6
    assert max(sizes) <= 14e6
