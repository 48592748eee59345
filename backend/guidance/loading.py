"""A folder of a diffusers model -> guidance: the parts, loaded from safetensors, silent and offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

from backend.errors import UserError
from backend.guidance import folders
from backend.guidance.diffusion import DiffusionGuidance, Parts
from backend.guidance.folders import Prediction, TextKind
from backend.guidance.precision import Precision, dtype_of
from backend.guidance.rigs import join_views
from backend.guidance.text import TextEncoder

_TEXT_MODELS: dict[TextKind, Any] = {"clip_text_model": CLIPTextModel, "t5": T5EncoderModel}
_NOISE_SETTINGS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


def load(folder: Path, device: torch.device, precision: Precision, latent_field: bool = False) -> DiffusionGuidance:
    """The guidance in `folder`, on `device`. Raises UserError if it cannot serve, as `folders.check` does."""
    folders.check(folder)
    if precision == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU; on a CPU use bf16 or fp32")
    if latent_field and not folders.is_latent(folder):
        raise UserError(f"{folder} is a pixel-space model, without latents; leave the latent field out")
    dtype = dtype_of(precision)
    diffusers_options = {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    abar, prediction = noise_schedule(folder)
    try:
        with quiet():
            unet = _placed(_weights(UNet2DConditionModel, folder / "unet", **diffusers_options), device)
            parts = Parts(
                unet=unet,
                text=_text_encoder(folder, precision),
                abar=abar,
                prediction=prediction,
                vae=_placed(_weights(AutoencoderKL, folder / "vae", **diffusers_options), device)
                if folders.is_latent(folder)
                else None,
                # A model that is told how pictures are taken was taught rigs of them, too.
                rigs=join_views(unet) if folders.takes_views(folder) or folders.is_multi_view(folder) else None,
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot load the model in {folder}: {reason}; fetch its files again") from error
    return DiffusionGuidance(parts, latent_field)


def noise_schedule(folder: Path) -> tuple[Float[Tensor, " T"], Prediction]:
    """abar (double precision, on the CPU) and what the UNet predicts, whichever sampler the folder names."""
    settings = folders.scheduler_settings(folder)
    scheduler = DDPMScheduler(**{name: settings[name] for name in _NOISE_SETTINGS if name in settings})
    return torch.cumprod(1 - scheduler.betas.double(), 0), settings["prediction_type"]


def _text_encoder(folder: Path, precision: Precision) -> TextEncoder:
    """On the CPU: it is needed once, before the first step, and DeepFloyd IF's is larger than most cards."""
    kind = folders.text_kind(folder)
    # Single precision costs nothing that matters, but for that one: there it would take 19 GB.
    dtype = torch.bfloat16 if kind == "t5" and precision != "fp32" else torch.float32
    path = folder / "text_encoder"
    model = _weights(_TEXT_MODELS[kind], path, dtype=dtype, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True, trust_remote_code=False)
    return TextEncoder(tokenizer, model.eval().requires_grad_(False))


def _weights(kind: Any, path: Path, **options: Any) -> Any:
    """The model in `path`, as `kind` reads it. transformers and diffusers have a few options of their own."""
    model, found = kind.from_pretrained(
        path,
        use_safetensors=True,
        variant=folders.variant(path) or None,
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    _refuse_gaps(path, found)
    return model


def _refuse_gaps(path: Path, found: dict[str, Any]) -> None:
    """Weights that a file lacks would be random ones, without a word."""
    lacking = sorted(found["missing_keys"])
    if lacking:
        raise UserError(f"the weights in {path} are not whole ({lacking[0]} is missing); fetch its files again")


def _placed(module: Any, device: torch.device) -> Any:
    # On a CPU this layout gains nothing: convolutions are as fast, and norms of few channels far slower.
    if device.type == "cuda":
        return module.to(device, memory_format=torch.channels_last)
    return module.to(device)


@contextmanager
def quiet() -> Iterator[None]:
    """Neither progress bars nor advice from the libraries."""
    libraries = (transformers.utils.logging, diffusers.utils.logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
