"""The model that is to be built in next, which can be added already."""

import json

import pytest
import torch
from backend.prior.examine import Scores
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from backend.guidance import folders
from backend.prior import examine, examiner, model, words
from backend.prior.sample import sample

FOLDER = model.BUILTIN.with_name("64")
MB = 10**6


def test_plain_diffusers_loads_it() -> None:
    unet = UNet2DConditionModel.from_pretrained(FOLDER / "unet", use_safetensors=True, low_cpu_mem_usage=False)
    assert unet.config.class_embed_type == "projection"
    folders.check(FOLDER)
    assert folders.takes_views(FOLDER)


def test_its_files_fit_their_limits_and_name_no_place_they_came_from() -> None:
    sizes = {path: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 14 * MB
    weights = sum(size for path, size in sizes.items() if path.suffix == ".safetensors")
    assert weights - sizes[FOLDER / "examiner.safetensors"] <= 32 * MB
    assert not [path for path in FOLDER.rglob("*.json") if "_name_or_path" in path.read_text()]
    for path in FOLDER.rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}


def test_it_knows_things_that_its_examiner_can_tell() -> None:
    known = words.of(FOLDER)
    assert known is not None
    assert known.knows("a red pirate ship").warning is None
    examiner.load(FOLDER)  # which checks that it is of these words


def test_the_card_shows_the_measured_scores() -> None:
    scores = Scores(**json.loads((FOLDER / "scores.json").read_text()))
    assert examine.table(scores) in (FOLDER / "README.md").read_text()


@pytest.mark.long
def test_common_things_are_recognised() -> None:
    nouns = ("mushroom", "chair", "tomato", "soccer ball", "martini glass", "table")
    net = examiner.load(FOLDER)
    asked = [noun for noun in nouns for _ in range(2)]
    images = sample(model.load(FOLDER), [f"a {noun}" for noun in asked], torch.Generator().manual_seed(0))
    right = examiner.right_answers(net.lexicon)[[net.lexicon.numbers[noun] for noun in asked]]
    assert (examiner.ranks(net(images).nouns, right) < 5).float().mean() >= 0.6
