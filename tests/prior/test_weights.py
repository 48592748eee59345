"""The shipped model: that anyone can load it, that it fits, and that it draws what it is asked for."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextModel

from backend.engine.cameras import ring
from backend.guidance.views import Views, shown
from backend.prior import card, evaluate, judge, model
from backend.prior.evaluate import Scores
from backend.prior.judge import ranks, right_answers
from backend.prior.lexicon import Lexicon
from backend.prior.sample import sample

FOLDER = model.BUILTIN


def test_plain_diffusers_and_transformers_classes_load_and_sample_it() -> None:
    unet = UNet2DConditionModel.from_pretrained(FOLDER / "unet", use_safetensors=True, low_cpu_mem_usage=False)
    text_encoder = CLIPTextModel.from_pretrained(FOLDER / "text_encoder")
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    scheduler = DDIMScheduler.from_pretrained(FOLDER / "scheduler")
    unet, text_encoder = unet.float(), text_encoder.float()
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert {"unet", "text_encoder", "tokenizer", "scheduler"} <= set(index)

    ids = tokenizer(["", "a red chair"], padding="max_length", return_tensors="pt").input_ids
    told = Views.unlit(ring(1, 20)).features.repeat(2, 1)
    with torch.no_grad():
        text = text_encoder(ids).last_hidden_state
        scheduler.set_timesteps(10)
        image = torch.randn(1, 12, 32, 32, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            seen = shown(torch.cat([image, image]), told, unet.config.in_channels)
            both = unet(seen, t, text, class_labels=told).sample
            unconditional, conditional = both.chunk(2)
            image = scheduler.step(unconditional + 3 * (conditional - unconditional), t, image).prev_sample
    unfolded = (torch.nn.functional.pixel_shuffle(image, 2)[0] + 1) / 2
    red, green, blue = unfolded[:, 24:40, 24:40].mean((1, 2))
    assert red > green + 0.2
    assert red > blue + 0.2


def test_the_files_fit_their_limits() -> None:
    sizes = {path: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    weights = [size for path, size in sizes.items() if path.suffix == ".safetensors" and path.parent != FOLDER]
    assert max(sizes.values()) <= 14_000_000
    assert sum(weights) <= 32_000_000
    assert (FOLDER / "judge.safetensors").stat().st_size <= 5_000_000


def test_the_configuration_names_no_place_it_came_from() -> None:
    assert not [path for path in FOLDER.rglob("*.json") if "_name_or_path" in path.read_text()]


def test_weights_are_safetensors_in_half_precision() -> None:
    assert not [path for path in FOLDER.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]
    for path in FOLDER.rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}


def test_the_card_shows_the_measured_scores_and_credits() -> None:
    scores = Scores(**json.loads((FOLDER / "scores.json").read_text()))
    text = (FOLDER / evaluate.CARD).read_text()
    assert evaluate.table(scores) in text
    assert "Objects under CC-BY are by:\n\n- " in text
    assert card.known(Lexicon.load(FOLDER)) in text
    assert card.parts(model.load(FOLDER), judge.load(FOLDER)) in text


def test_model_judge_and_lexicon_belong_together() -> None:
    lexicon = Lexicon.load(FOLDER)
    assert len(lexicon.nouns) >= 190
    assert len(lexicon.colours) == 12
    assert judge.load(FOLDER).lexicon == lexicon
    special = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    assert AutoTokenizer.from_pretrained(FOLDER / "tokenizer").get_vocab().keys() == {*special, *lexicon.words}


@pytest.mark.long
def test_samples_of_common_objects_show_what_was_asked_for() -> None:
    prior, net = model.load(FOLDER), judge.load(FOLDER)
    kinds = ("chair", "bowl", "mushroom", "table", "mug", "car", "donut", "cube", "potted plant", "pumpkin")
    nouns = [noun for noun in kinds for _ in range(3)]
    views = Views.unlit(ring(3, 20).tiled(len(kinds)))
    images = sample(prior, [f"a {noun}" for noun in nouns], torch.Generator().manual_seed(0), views=views)
    right = right_answers(net.lexicon)[[net.lexicon.numbers[noun] for noun in nouns]]
    assert (ranks(net(images).nouns, right) < 5).float().mean() >= 0.7


def test_a_model_folder_is_part_of_the_package() -> None:
    assert Path(model.__file__).parent in FOLDER.parents
