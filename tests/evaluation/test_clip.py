"""CLIP as a judge, by a tiny one that is built here."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from backend.errors import UserError
from backend.evaluation.clip import Clip

PROMPTS = ("a", "b", "c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = ["<|startoftext|>", "<|endoftext|>", *(f"{letter}</w>" for letter in "abc")]
    tokenizer = CLIPTokenizer({word: index for index, word in enumerate(words)}, [], model_max_length=8)
    part = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**part, "vocab_size": len(words), "max_position_embeddings": 8, "eos_token_id": 1},
        vision_config={**part, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(tmp_path)
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(tmp_path)
    return tmp_path


def test_each_picture_is_given_to_one_prompt(folder: Path, generator: torch.Generator) -> None:
    clip = Clip(folder, PROMPTS)
    pictures = torch.rand(12, 3, 16, 16, generator=generator)
    shares = [clip.precision(pictures, prompt) for prompt in PROMPTS]
    assert sum(shares) == pytest.approx(1)
    singly = [clip.precision(picture[None], "b") for picture in pictures]
    assert sum(singly) / 12 == pytest.approx(shares[1])


def test_it_is_what_transformers_say(folder: Path, generator: torch.Generator) -> None:
    pictures = torch.rand(4, 3, 16, 16, generator=generator).mul(255).byte().float() / 255
    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    given = processor(text=list(PROMPTS), images=list(pictures), do_rescale=False, return_tensors="pt", padding=True)
    chosen = model(**given).logits_per_image.argmax(-1)
    clip = Clip(folder, PROMPTS)
    for index, prompt in enumerate(PROMPTS):
        assert clip.precision(pictures, prompt) == (chosen == index).float().mean().item()


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CLIP model in"):
        Clip(tmp_path, PROMPTS)
