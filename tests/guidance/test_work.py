"""What is counted from configurations, against what torch counts of the models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backend.benches import random_models
from backend.guidance import work
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.speed import flops_per_second


@pytest.mark.parametrize("kind", random_models.KINDS)
@pytest.mark.parametrize("make", [random_models.true_sized, random_models.small])
def test_a_prediction_and_an_encoding_are_counted_as_torch_counts_them(kind: str, make: Any) -> None:
    with torch.device("meta"):
        modules = make(kind)
        unet, vae = modules["unet"].requires_grad_(False), modules["vae"].requires_grad_(False)
        told, side = unet.config, unet.config.sample_size
        numbers = told.projection_class_embeddings_input_dim or 0
        besides = {"text_embeds": torch.zeros(1, max(0, numbers - 6 * 256)), "time_ids": torch.zeros(1, 6)}
        labels = torch.zeros(1, numbers) if told.class_embed_type else None
        text = torch.zeros(1, 77, told.cross_attention_dim)
        with FlopCounterMode(display=False) as counted:
            unet(torch.zeros(1, 4, side, side), torch.zeros(1), text, class_labels=labels, added_cond_kwargs=besides)
        assert work.unet_work(told) == pytest.approx(counted.get_total_flops(), rel=0.01)
        image = torch.zeros(1, 3, 8 * side, 8 * side, requires_grad=True)
        with FlopCounterMode(display=False) as counted:
            vae.encode(image).latent_dist.mode().sum().backward()
        assert work.encoder_work(vae.config, side) == pytest.approx(counted.get_total_flops(), rel=0.01)


def test_views_that_see_each_other_are_counted_as_torch_counts_them() -> None:
    with torch.device("meta"):
        config = random_models.true_sized("mvdream")["unet"].config
    alone, together = work.unet_work(config), work.unet_work(config, joint=4)
    assert alone
    assert together
    # Self-attention over n positions multiplies 2 n^2 numbers of a width; three more of four views are seen.
    widths = [(320, 32, 5), (640, 16, 5), (1280, 8, 5), (1280, 4, 1)]
    assert together - alone == 2 * sum(count * 2 * width * side**4 * 3 for width, side, count in widths)


def test_a_step_is_its_views_each_under_its_texts() -> None:
    assert work.Work(prediction=3.0, encoding=10.0).of_step(views=2, texts=4) == 2 * (4 * 3.0 + 10.0)
    assert work.Work(prediction=3.0, encoding=10.0).of_step(views=2, texts=4, latent_field=True) == 2 * 4 * 3.0


def test_folders_are_counted_by_their_files(folders: dict[str, Path], guidances: dict[str, DiffusionGuidance]) -> None:
    for kind in ("sd1", "sd2", "sdxl"):
        found, unet = work.of_folder(folders[kind]), guidances[kind].parts.unet
        assert found
        assert found.prediction == work.unet_work(unet.config)
        assert found.encoding > 0


@pytest.mark.parametrize(
    "instead",
    [
        {"block_out_channels": None},
        {"block_out_channels": [320, "640"]},
        {"layers_per_block": [2, 2]},
        {"down_block_types": ["DownBlock2D"]},
        {"down_block_types": ["SimpleCrossAttnDownBlock2D", "DownBlock2D"]},
        {"sample_size": [64, 96]},
        {"transformer_layers_per_block": [1]},
    ],
)
def test_what_is_made_otherwise_is_not_counted(
    instead: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "unet").mkdir()
    config = json.loads((folders["sd1"] / "unet" / "config.json").read_text())
    (tmp_path / "unet" / "config.json").write_text(json.dumps(config | instead))
    assert work.of_folder(tmp_path) is None
    (tmp_path / "unet" / "config.json").write_text("{}")
    assert work.of_folder(tmp_path) is None


def test_a_device_computes_something() -> None:
    assert flops_per_second(torch.device("cpu"), "fp32") > 0
