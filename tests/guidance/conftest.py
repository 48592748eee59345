"""Tiny untrained models of every kind that guidance understands, made of diffusers' own classes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    IFPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.prior import model, network
from backend.prior.network import Architecture

TOKENS = 24

WORDS = [",", "a", "back", "blue", "car", "front", "mug", "on", "overhead", "red", "side", "table", "view"]


def clip_tokenizer() -> CLIPTokenizer:
    letters = [*ascii_lowercase, ","]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=TOKENS)


def small_unet(**settings: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=8,
        **settings,
    )


def stable_diffusion(prediction: str) -> StableDiffusionPipeline:
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=small_unet(sample_size=8, in_channels=4, out_channels=4),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def deepfloyd() -> IFPipeline:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *ascii_lowercase, ","]
    tokenizer = T5Tokenizer([(piece, -1.0) for piece in pieces], extra_ids=0)
    text = T5Config(vocab_size=len(tokenizer), d_model=12, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    unet = small_unet(sample_size=8, in_channels=3, out_channels=6, encoder_hid_dim=12)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", clip_sample=False)
    return IFPipeline(tokenizer, T5EncoderModel(text), unet, scheduler, None, None, None, requires_safety_checker=False)


BUILDERS: dict[str, Callable[[], Any]] = {
    "sd1": lambda: stable_diffusion("epsilon"),
    "sd2": lambda: stable_diffusion("v_prediction"),
    "if": deepfloyd,
}


@pytest.fixture(scope="session")
def pipelines() -> dict[str, Any]:
    """Diffusers' own pipelines by kind."""
    made = {}
    for seed, (kind, build) in enumerate(BUILDERS.items()):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made[kind] = build()
        made[kind].set_progress_bar_config(disable=True)
        made[kind].text_encoder.eval()  # as it is after loading: T5 has dropout
    return made


@pytest.fixture(scope="session")
def folders(pipelines: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same models as folders, and two that know whole words: "prior", and "told", which takes views.

    Not to be changed: copy them first.
    """
    root = tmp_path_factory.mktemp("models")
    for kind, pipeline in pipelines.items():
        pipeline.save_pretrained(root / kind)
    tiny = Architecture(channels=(32, 32, 32), text_width=16, text_layers=1)
    told = network.build(64, WORDS, tiny, seed=0)
    model.save(told, root / "told")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = replace(told, unet=small_unet(sample_size=32, in_channels=3, out_channels=3))
    model.save(plain, root / "prior")
    return {kind: root / kind for kind in (*pipelines, "prior", "told")}


@pytest.fixture(scope="session")
def guidances(folders: dict[str, Path]) -> dict[str, DiffusionGuidance]:
    """The same models as our guidance, in single precision on the CPU."""
    return {kind: load(folder, torch.device("cpu"), "fp32") for kind, folder in folders.items()}
