"""How fast a device computes what diffusion models are made of."""

import statistics
import time

import torch
from diffusers import UNet2DConditionModel

from backend.guidance.precision import Precision, dtype_of
from backend.guidance.work import unet_work

_CALLS, _WARMING = 5, 2
_WORDS = 768


@torch.no_grad()
def flops_per_second(device: torch.device, precision: Precision) -> float:
    """Measured on one level of Stable Diffusion's UNet: a second on a CPU, less on a GPU."""
    side, batch = (64, 8) if device.type == "cuda" else (16, 1)
    with device:
        unet = UNet2DConditionModel(
            sample_size=side,
            block_out_channels=(320,),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            cross_attention_dim=_WORDS,
        )
    work = unet_work(unet.config)
    assert work is not None  # noqa: S101 for mypy: it is of the kind that is counted
    unet = unet.to(device, dtype_of(precision))
    noisy = torch.zeros(batch, 4, side, side, device=device, dtype=unet.dtype)
    text = torch.zeros(batch, 77, _WORDS, device=device, dtype=unet.dtype)
    seconds = []
    for _ in range(_CALLS):
        begun = time.perf_counter()
        unet(noisy, 500, text).sample.sum().item()
        seconds.append(time.perf_counter() - begun)
    return batch * work / statistics.median(seconds[_WARMING:])
