"""A folder of a diffusers model -> guidance: the parts, loaded from safetensors, silent and offline."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from backend.errors import UserError
from backend.guidance import folders, linked
from backend.guidance.diffusion import DiffusionGuidance, Parts
from backend.guidance.folders import Prediction, TextKind
from backend.guidance.precision import Precision, dtype_of, steady
from backend.guidance.quiet import quiet
from backend.guidance.rigs import join_views
from backend.guidance.text import PairedTextEncoder, TextEncoder

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
    abar, prediction = noise_schedule(folder)
    try:
        with quiet():
            modules = linked.read(folder) if folders.checkpoint(folder) else _own(folder, precision)
            unet = _placed(modules["unet"], device, precision)
            vae_precision = steady(precision, device) if folders.overflows(folder) else precision
            parts = Parts(
                unet=unet,
                text=_text_encoder(folder, modules),
                abar=abar,
                prediction=prediction,
                vae=_placed(modules["vae"], device, vae_precision) if "vae" in modules else None,
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


def _own(folder: Path, precision: Precision) -> dict[str, Any]:
    """The modules of a model whose parts have their own weights, by part."""
    options = {"torch_dtype": dtype_of(precision), "low_cpu_mem_usage": False}
    modules = {"unet": _weights(UNet2DConditionModel, folder / "unet", **options)}
    if folders.is_latent(folder):
        modules["vae"] = _weights(AutoencoderKL, folder / "vae", **options)
    kind = folders.text_kind(folder)
    # Single precision costs nothing that matters, but for T5: there it would take 19 GB.
    wide = torch.bfloat16 if kind == "t5" and precision != "fp32" else torch.float32
    readers = {"text_encoder": _TEXT_MODELS[kind]}
    if folders.is_paired(folder):
        readers["text_encoder_2"] = CLIPTextModelWithProjection
    for part, model in readers.items():
        modules[part] = _weights(model, folder / part, dtype=wide, trust_remote_code=False)
    return modules


def _text_encoder(folder: Path, modules: dict[str, Any]) -> TextEncoder:
    """On the CPU: it is needed once, before the first step, and DeepFloyd IF's is larger than most cards."""
    readers = [_reader(folder, ending, modules) for ending in ("", "_2") if f"text_encoder{ending}" in modules]
    if len(readers) == 1:
        return TextEncoder(*readers[0])
    return PairedTextEncoder(*readers[0], *readers[1], empty_is_zero=folders.empty_is_zero(folder))


def _reader(folder: Path, ending: str, modules: dict[str, Any]) -> tuple[Any, Any]:
    """A tokenizer, and the model that reads what it makes."""
    path = folder / f"tokenizer{ending}"
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return tokenizer, modules[f"text_encoder{ending}"].eval().requires_grad_(False)


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


def _placed(module: Any, device: torch.device, precision: Precision) -> Any:
    # On a CPU this layout gains nothing: convolutions are as fast, and norms of few channels far slower.
    if device.type == "cuda":
        return module.to(device, dtype_of(precision), memory_format=torch.channels_last)
    return module.to(device, dtype_of(precision))
