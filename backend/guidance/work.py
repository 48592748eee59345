"""How much a model computes for a step, counted from its configuration alone. Nothing here imports torch.

Letters: n positions of a picture, T tokens of a text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from backend.guidance import folders

Config = Mapping[str, Any]

_TOKENS = 77
_RIG = 4
"""Views that see each other, in MVDream."""

_BLOCKS = {
    "DownBlock2D": False,
    "CrossAttnDownBlock2D": True,
    "UpBlock2D": False,
    "CrossAttnUpBlock2D": True,
}
"""The levels of a UNet that are counted, and whether there is attention in them."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations. prediction: of a view under one text. encoding: of a view, there and back."""

    prediction: float
    encoding: float

    def of_step(self, views: int, texts: int, latent_field: bool = False) -> float:
        """A step with so many views, asked about under so many texts each. latent_field: nothing is encoded."""
        return views * (texts * self.prediction + (0.0 if latent_field else self.encoding))


def of_folder(folder: Path) -> Work | None:
    """That of the model in `folder`; None where it is of a make that is not counted. Raises UserError."""
    unet = folders.configuration(folder, "unet")
    vae = folders.configuration(folder, "vae") if folders.is_latent(folder) else None
    try:
        prediction = unet_work(unet, joint=_RIG if folders.is_multi_view(folder) else 1)
        if prediction is None:
            return None
        return Work(prediction, 0.0 if vae is None else encoder_work(vae, _side(unet)))
    except (LookupError, TypeError, ValueError):  # what stands there is not what diffusers' own classes have
        return None


def unet_work(config: Config, joint: int = 1) -> float | None:
    """Of one prediction at the native size; see `of_folder`. joint: how many pictures see each other."""
    channels: list[int] = list(config["block_out_channels"])
    kinds = (*config["down_block_types"], *config["up_block_types"])
    if len(kinds) != 2 * len(channels) or any(kind not in _BLOCKS for kind in kinds):
        return None
    layers: int = config.get("layers_per_block", 2)
    depths = _each(config.get("transformer_layers_per_block", 1), channels)
    words = config.get("cross_attention_dim") or channels[-1]
    n = _side(config) ** 2
    attended = [_BLOCKS[kind] for kind in config["down_block_types"]]

    def block(given: int, made: int, level: int, there: bool) -> float:
        """A resnet, and what attends after it."""
        positions = n / 4**level
        attention = _transformer(made, positions, depths[level], words, joint) if there else 0
        return _resnet(given, made, positions) + attention

    last = len(channels) - 1
    total = 9.0 * n * (config.get("in_channels", 4) + config.get("out_channels", 4)) * channels[0]
    for level, (given, made) in enumerate(pairwise((channels[0], *channels))):
        total += sum(block(made if layer else given, made, level, attended[level]) for layer in range(layers))
        if level < last:
            total += 9 * made * made * n / 4 ** (level + 1)
    total += block(channels[last], channels[last], last, True) + _resnet(channels[last], channels[last], n / 4**last)
    up = [_BLOCKS[kind] for kind in reversed(config["up_block_types"])]
    for level in range(last, -1, -1):
        made, below = channels[level], channels[min(level + 1, last)]
        for layer in range(layers + 1):
            beside = channels[max(level - 1, 0)] if layer == layers else made
            total += block((made if layer else below) + beside, made, level, up[level])
        if level:
            total += 9 * made * made * n / 4 ** (level - 1)
    return 2 * total


def encoder_work(config: Config, latents: int) -> float:
    """Of encoding a picture of latents x latents, and of the slope by it."""
    channels: list[int] = list(config["block_out_channels"])
    layers: int = config.get("layers_per_block", 1)
    last = len(channels) - 1
    n = float(latents**2 * 4**last)
    total = 9 * 3 * channels[0] * n
    for level, (given, made) in enumerate(pairwise((channels[0], *channels))):
        positions = n / 4**level
        total += sum(_resnet(made if layer else given, made, positions) for layer in range(layers))
        if level < last:
            total += 9 * made * made * positions / 4
    positions, width = float(latents**2), channels[last]
    attended = 2 * width * positions**2
    total += 2 * _resnet(width, width, positions) + 4 * width**2 * positions + attended
    total += 9 * width * 2 * config.get("latent_channels", 4) * positions
    return 2 * (2 * total + attended)  # either factor of what is attended to has a slope


def _resnet(given: int, made: int, n: float) -> float:
    """Multiplications of two convolutions and of the way past them."""
    return n * (9 * given * made + 9 * made * made + (given * made if given != made else 0))


def _transformer(width: int, n: float, depth: int, words: int, joint: int) -> float:
    """Multiplications of `depth` layers: attention to positions and to words, and a network four times as wide."""
    seeing = 4 * width**2 * n + 2 * width * n * n * joint
    reading = 2 * width**2 * n + 2 * words * width * _TOKENS + 2 * width * n * _TOKENS
    return 2 * width**2 * n + depth * (seeing + reading + 12 * width**2 * n)


def _each(value: Any, levels: list[int]) -> list[int]:
    return [value] * len(levels) if isinstance(value, int) else list(value)


def _side(config: Config) -> int:
    side: int = config.get("sample_size") or 64
    return side
