"""What a checkpoint's UNet predicts, noise or v: models whose tensors have the same names and shapes may differ."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from backend.guidance import single_file
from backend.guidance.folders import Prediction

_MARK = "v_pred"
ZERO_SNR_MARK = "ztsnr"
"""Tensors that say it by being there, as ComfyUI has them."""

_STATED = "modelspec.prediction_type"
_BESIDE = re.compile(r"""^\s*parameterization:\s*["']?(v|eps)\b""", re.MULTILINE)

_LAST, _SIZE = 999, 32
_ALIKE = 0.5
"""A cosine in between: of what predicts the noise it is nearly 1 there, and of what predicts v nearly 0."""


def stated(path: Path, names: Collection[str]) -> Prediction | None:
    """What the checkpoint, its header or a configuration beside it says, if one does."""
    if _MARK in names:
        return "v_prediction"
    said = single_file.metadata(path).get(_STATED, "")
    beside = path.with_suffix(".yaml")
    if not said and beside.is_file() and (found := _BESIDE.search(beside.read_text("utf-8", "replace"))):
        said = found[1]
    return "v_prediction" if said.startswith("v") else "epsilon" if said.startswith("eps") else None


@torch.no_grad()
def tried(unet: Any, text: Float[Tensor, "1 L D"]) -> Prediction:
    """What it predicts by what it makes of noise at the last timestep, where hardly anything else is left.

    A model of the noise gives it back; one of v says what picture may be behind it. text: of the empty prompt. unet: a
    UNet2DConditionModel.
    """
    noise = torch.randn(1, unet.config.in_channels, _SIZE, _SIZE, generator=torch.Generator().manual_seed(0))
    output = unet(noise, _LAST, text).sample
    alike = torch.nn.functional.cosine_similarity(output.flatten(), noise.flatten(), dim=0)
    return "epsilon" if alike > _ALIKE else "v_prediction"
