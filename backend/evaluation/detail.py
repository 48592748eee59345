"""How much fine detail pictures show: what of their spectrum is quick changes.

Letters: V views, H x W pixels.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

FINE = 1 / 8
"""Cycles per pixel: what goes from light to dark and back within eight pixels is fine."""

BLURRED = -6.0
"""The least sharpness that counts, of what shows a 64th of the detail or none."""


def fine_detail(pictures: Float[Tensor, "V 3 H W"]) -> float:
    """The variance of grey values by waves of at least FINE, in the mean over views (Parseval)."""
    grey = pictures.mean(1)
    power = torch.fft.fft2(grey, norm="forward").abs().square()
    across, down = (torch.fft.fftfreq(size) for size in (grey.shape[2], grey.shape[1]))
    return power[:, torch.hypot(down[:, None], across) >= FINE].sum(-1).mean().item()


def sharpness(shown: float, true: float) -> float:
    """How often the fine detail is twice that of true objects; below 0 where it is less, and BLURRED at least."""
    return max(BLURRED, math.log2(shown / true)) if shown else BLURRED
