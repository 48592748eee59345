"""The diffusion model itself: its parts, and the folder they are kept in.

The folder is laid out as diffusers lays out a pipeline (unet, text_encoder, tokenizer, scheduler,
model_index.json), so that plain diffusers and transformers classes load every part of it.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, PreTrainedTokenizerFast

from backend.guidance import folders

BUILTIN = Path(__file__).parent / "weights" / "64"
"""The folder of the default model."""

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
        return folders.fold(self.unet.config.in_channels)

    @property
    def size(self) -> int:
        """Height and width of its images."""
        return int(self.unet.config.sample_size) * self.fold

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


def save(prior: Prior, folder: Path) -> None:
    """Write `prior` as a diffusers folder, weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("unet", "text_encoder"):
        copy.deepcopy(getattr(prior, name)).half().save_pretrained(folder / name, max_shard_size=_MAX_FILE)
        config = folder / name / "config.json"
        told = json.loads(config.read_text("utf-8"))
        told.pop("_name_or_path", None)  # the folder that it was loaded from is nobody's business
        config.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
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
