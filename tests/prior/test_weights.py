"""The shipped model: that anyone can load it, that it fits, and that it draws what it is asked for."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextModel

from backend.prior import evaluate, judge, model
from backend.prior.evaluate import Scores
from backend.prior.vocabulary import Vocabulary

FOLDER = model.BUILTIN
MIB = 2**20


def test_plain_diffusers_and_transformers_classes_load_and_sample_it() -> None:
    unet = UNet2DConditionModel.from_pretrained(FOLDER / "unet", use_safetensors=True, low_cpu_mem_usage=False)
    text_encoder = CLIPTextModel.from_pretrained(FOLDER / "text_encoder")
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    scheduler = DDIMScheduler.from_pretrained(FOLDER / "scheduler")
    unet, text_encoder = unet.float(), text_encoder.float()
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert {"unet", "text_encoder", "tokenizer", "scheduler"} <= set(index)

    ids = tokenizer(["", "a red mug"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        text = text_encoder(ids).last_hidden_state
        scheduler.set_timesteps(10)
        image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            unconditional, conditional = unet(torch.cat([image, image]), t, text).sample.chunk(2)
            image = scheduler.step(unconditional + 3 * (conditional - unconditional), t, image).prev_sample
    red, green, blue = ((image[0] + 1) / 2)[:, 12:20, 12:20].mean((1, 2))
    assert red > green + 0.2
    assert red > blue + 0.2


def test_the_files_fit_their_limits() -> None:
    sizes = {path: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 14 * MIB
    assert sum(sizes.values()) <= 30 * MIB
    assert (FOLDER / "judge.safetensors").stat().st_size <= 3 * MIB


def test_the_configuration_names_no_place_it_came_from() -> None:
    assert not [path for path in FOLDER.rglob("*.json") if "_name_or_path" in path.read_text()]


def test_weights_are_safetensors_in_half_precision() -> None:
    assert not [path for path in FOLDER.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]
    for path in FOLDER.rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}


def test_the_card_shows_the_measured_scores() -> None:
    scores = Scores(**json.loads((FOLDER / "scores.json").read_text()))
    assert evaluate.table(scores) in (FOLDER / "README.md").read_text()


def test_the_vocabulary_covers_the_required_world() -> None:
    vocabulary = Vocabulary.load(FOLDER)
    assert len(vocabulary.objects) >= 20
    assert len(vocabulary.colours) == 12


@pytest.mark.long
def test_samples_show_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quarter of the card's sample: chance moves these shares by 4 % at most, two standard deviations.
    monkeypatch.setattr(evaluate, "SAMPLES", 132)
    scores = evaluate.judge_samples(model.load(FOLDER), judge.load(FOLDER), seed=1)
    assert scores["sample_object"] >= 0.80
    assert scores["sample_colour"] >= 0.90


def test_the_judge_is_right_about_objects_it_has_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "INSTANCES", 1)
    monkeypatch.setattr(evaluate, "_EXAM_SEED", 5)
    scores = evaluate.examine(judge.load(FOLDER))
    assert scores["judge_caption"] >= 0.98
    assert scores["judge_grey"] >= 0.93


def test_a_model_folder_is_part_of_the_package() -> None:
    assert Path(model.__file__).parent in FOLDER.parents
