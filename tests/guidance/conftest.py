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
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

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
    usual: dict[str, Any] = {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**(usual | settings))


def clip_settings(**settings: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(clip_tokenizer()),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        **settings,
    )


def latent_scheduler(prediction: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def small_vae(**settings: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
        **settings,
    )


def stable_diffusion(prediction: str) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=small_vae(),
        text_encoder=CLIPTextModel(clip_settings()),
        tokenizer=clip_tokenizer(),
        unet=small_unet(sample_size=8, in_channels=4, out_channels=4),
        scheduler=latent_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    """Three levels, of which the first has no attention and the last two transformers in a row; a summary of 8."""
    second = CLIPTextModelWithProjection(clip_settings(projection_dim=8, hidden_act="gelu"))
    unet = small_unet(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 1, 2],
        cross_attention_dim=32,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 + 6 * 8,
    )
    return StableDiffusionXLPipeline(
        vae=small_vae(scaling_factor=0.13025, force_upcast=True),
        text_encoder=CLIPTextModel(clip_settings()),
        text_encoder_2=second,
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=latent_scheduler("epsilon"),
        add_watermarker=False,
    )


def deepfloyd() -> IFPipeline:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *ascii_lowercase, ","]
    tokenizer = T5Tokenizer([(piece, -1.0) for piece in pieces], extra_ids=0)
    text = T5Config(vocab_size=len(tokenizer), d_model=12, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    # The blocks of the published one, which sums up the text for the timestep's embedding, too.
    unet = small_unet(
        sample_size=8,
        in_channels=3,
        out_channels=6,
        encoder_hid_dim=12,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", clip_sample=False)
    return IFPipeline(tokenizer, T5EncoderModel(text), unet, scheduler, None, None, None, requires_safety_checker=False)


BUILDERS: dict[str, Callable[[], Any]] = {
    "sd1": lambda: stable_diffusion("epsilon"),
    "sd2": lambda: stable_diffusion("v_prediction"),
    "if": deepfloyd,
    "sdxl": stable_diffusion_xl,
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
        for part in made[kind].components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()  # as it is after loading: T5 has dropout
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
