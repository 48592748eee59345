"""In which number format a diffusion model computes."""

from typing import Literal, get_args

import torch

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of the weights and activations."""
    return _DTYPES[precision]


def multiplies_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bf16 itself. Emulated, it takes up to a hundred times as long as single precision."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def autocast(device: torch.device) -> torch.autocast:
    """bf16, for products that bear it, where `device` multiplies it; else their own precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bf16(device))


def steady(precision: Precision, device: torch.device) -> Precision:
    """Instead of `precision`, one for what overflows in fp16, as XL's VAE does."""
    if precision != "fp16":
        return precision
    return "bf16" if multiplies_bf16(device) else "fp32"


def best_precision(device: torch.device) -> Precision:
    """The fastest one that is safe on `device`. Choose once per job: results differ in the last digits.

    A GPU takes fp16, whose finer mantissa keeps cfg = 100 less noisy than bf16 does. A CPU takes bf16 where
    it multiplies that.
    """
    if device.type == "cuda":
        return "fp16"
    return "bf16" if multiplies_bf16(device) else "fp32"
