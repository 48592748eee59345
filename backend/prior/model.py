"""The diffusion model itself: its parts, built small, and the folder they are kept in.

The folder is laid out as diffusers lays out a pipeline (unet, text_encoder, tokenizer, scheduler,
model_index.json), so that plain diffusers and transformers classes load every part of it.
"""

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from backend.prior.captions import all_words

BUILTIN = Path(__file__).parent / "weights" / "32"
"""The folder of the default model."""

TOKENS = 20
"""Length of every prompt, padded, begin and end marks included."""

_TEXT_WIDTH = 128
_HEADS = 2  # diffusers calls the number of heads attention_head_dim; few wide ones are fastest on a CPU
_CHANNELS = {32: (32, 64, 128, 128), 64: (32, 64, 128, 128, 160)}
_MAX_FILE = "14MB"


@dataclass
class Prior:
    """A text-to-image diffusion model over (B, 3, size, size) images in [-1, 1]."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerFast
    scheduler: DDIMScheduler

    @property
    def fold(self) -> int:
        """Pixels per axis that are one position of the network: their colours are its channels."""
        return math.isqrt(self.unet.config.in_channels // 3)

    @property
    def size(self) -> int:
        """Height and width of its images."""
        return int(self.unet.config.sample_size) * self.fold

    @property
    def takes_views(self) -> bool:
        """Whether it has to be told how a picture is taken; see `guidance.views`."""
        return self.unet.config.class_embed_type == "projection"

    def tokens(self, prompts: list[str]) -> Tensor:
        """Token ids (B, L), padded or cut to the encoder's length."""
        length = self.text_encoder.config.max_position_embeddings
        return self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids

    def encode(self, prompts: list[str]) -> Float[Tensor, "B tokens width"]:
        """Embeddings of prompts, for the UNet's cross-attention. The empty prompt is the unconditional one."""
        return self.text_encoder(self.tokens(prompts).to(self.text_encoder.device)).last_hidden_state

    def modules(self) -> torch.nn.ModuleDict:
        """The trained parts, as one module."""
        return torch.nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})


def noise_schedule() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, so that its timestep constants mean the same here.

    The model predicts v, which stays well scaled at large t, where epsilon says little about the image.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        # Clipping the predicted image but not the predicted noise turns guided colours into their complements.
        clip_sample=False,
        set_alpha_to_one=False,
    )


def build(size: int, seed: int = 0) -> Prior:
    """An untrained prior for images of `size` x `size`, initialised by `seed` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _build(size)


def _build(size: int) -> Prior:
    channels = _CHANNELS[size]
    plain = len(channels) - 2
    unet = UNet2DConditionModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        block_out_channels=channels,
        layers_per_block=1,
        # Words matter where a position sees a good part of the object: at the two lowest resolutions.
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * plain,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=_HEADS,
        norm_num_groups=16,
    )
    tokenizer = build_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=_TEXT_WIDTH,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    return Prior(unet, text_encoder, tokenizer, noise_schedule())


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the words of the captions; anything else becomes [UNK]."""
    special = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    vocabulary = {word: index for index, word in enumerate(special + all_words())}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", vocabulary["[BOS]"]), ("[EOS]", vocabulary["[EOS]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=TOKENS,
    )


def save(prior: Prior, folder: Path) -> None:
    """Write `prior` as a diffusers folder, weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("unet", "text_encoder"):
        copy.deepcopy(getattr(prior, name)).half().save_pretrained(folder / name, max_shard_size=_MAX_FILE)
    prior.tokenizer.save_pretrained(folder / "tokenizer")
    prior.scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def load(folder: Path) -> Prior:
    """Read a prior back, in single precision, ready for inference. Raises FileNotFoundError if there is none."""
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} holds no model (model_index.json is missing); name a trained model's folder")
    prior = Prior(
        unet=UNet2DConditionModel.from_pretrained(
            folder / "unet",
            use_safetensors=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,
            local_files_only=True,
        ),
        text_encoder=CLIPTextModel.from_pretrained(
            folder / "text_encoder", use_safetensors=True, dtype=torch.float32, local_files_only=True
        ),
        tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        scheduler=DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
    )
    prior.modules().eval().requires_grad_(False)
    return prior
