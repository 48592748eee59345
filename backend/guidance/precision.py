"""In which number format a diffusion model computes."""

from typing import Literal, get_args

import torch

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of the weights and activations."""
    return _DTYPES[precision]


def steady(precision: Precision, device: torch.device) -> Precision:
    """Instead of `precision`, one for what overflows in fp16, as XL's VAE does."""
    if precision != "fp16":
        return precision
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if able else "fp32"


def best_precision(device: torch.device) -> Precision:
    """The fastest one that is safe on `device`. Choose once per job: results differ in the last digits.

    A GPU takes fp16, whose finer mantissa keeps cfg = 100 less noisy than bf16 does. A CPU takes bf16 where
    it multiplies that natively: elsewhere emulation makes it slower than single precision.
    """
    if device.type == "cuda":
        return "fp16"
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"
    return "fp32"
