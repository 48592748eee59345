"""Folders as the hub has had them since 2022: names that diffusers and transformers have changed since."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.benches import random_models
from backend.guidance.loading import load
from tests.guidance import models_in_one_file as files

CPU = torch.device("cpu")

_VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", r"to_out\.0": "proj_attn"}


def rewritten(path: Path, names: dict[str, str], **more: Tensor) -> None:
    """Replace parts of the names of the weights in `path`, and add some."""
    renamed = {}
    for name, tensor in load_file(path).items():
        for new, old in names.items():
            name = re.sub(new, old, name)
        renamed[name] = tensor
    save_file(renamed | more, path, {"format": "pt"})


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_models.save_folder(tmp_path_factory.mktemp("modern") / "sd1", "sd1", files.made("sd1"), "epsilon")


@pytest.fixture
def old(modern: Path, tmp_path: Path) -> Path:
    """The same model as in the first folders of Stable Diffusion 1.x."""
    folder = Path(shutil.copytree(modern, tmp_path / "old"))
    attention = {rf"(attentions\.0)\.{new}": rf"\1.{old}" for new, old in _VAE_ATTENTION.items()}
    rewritten(folder / "vae" / "diffusion_pytorch_model.safetensors", attention)
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    rewritten(folder / "text_encoder" / "model.safetensors", {r"^(?!text_model\.)": "text_model."}, **positions)
    for part in ("unet", "vae"):
        path = folder / part / "config.json"
        config = {key: value for key, value in json.loads(path.read_text()).items() if value is not None}
        for late in ("force_upcast", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"):
            config.pop(late, None)
        path.write_text(json.dumps(config | {"_diffusers_version": "0.2.2"}))
    settings = folder / "tokenizer" / "tokenizer_config.json"
    content = json.loads(settings.read_text())
    mark = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    marks = {key: {**mark, "content": content[key]} for key in ("bos_token", "eos_token", "unk_token")}
    settings.write_text(json.dumps(content | marks | {"do_lower_case": True, "add_prefix_space": False}))
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(marks | {"pad_token": "<|endoftext|>"}))
    return folder


def test_the_first_folders_of_stable_diffusion_are_the_same_models(old: Path, modern: Path) -> None:
    names = set(load_file(old / "vae" / "diffusion_pytorch_model.safetensors"))
    assert "encoder.mid_block.attentions.0.query.weight" in names
    assert not any("to_q" in name for name in names)
    assert not (old / "tokenizer" / "tokenizer.json").exists()
    ours, theirs = (load(folder, CPU, "fp32") for folder in (old, modern))
    for part in ("unet", "vae"):
        weights = getattr(theirs.parts, part).state_dict()
        found = getattr(ours.parts, part).state_dict()
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    prompts = ["a photo of a cat", "", "it's the artist's café, front view"]
    assert torch.equal(ours.encode(prompts), theirs.encode(prompts))
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(*(guidance.parts.vae.encode(pictures).latent_dist.mode() for guidance in (ours, theirs)))
