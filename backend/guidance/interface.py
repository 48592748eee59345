"""What the engine asks of a diffusion model.

Letters: B views, c x H x W rendered images, C x h x w what the model diffuses, T timesteps of its noise
schedule, L tokens of width D, K things to keep away from, eps noise, abar = alphas_cumprod,
cfg = classifier-free guidance scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """What is asked for in each of B views, and what is not.

    positive: embeddings of the prompt. negative: those of the negative prompt, or of "" without one.
    against, against_weights: Perp-Neg's (arXiv 2304.04968) K other prompts and how strongly to avoid
    each, or None without Perp-Neg.
    """

    positive: Float[Tensor, "B L D"]
    negative: Float[Tensor, "B L D"]
    against: Float[Tensor, "B K L D"] | None = None
    against_weights: Float[Tensor, "B K"] | None = None

    def split(self, views: int) -> "Iterator[Conditioning]":
        """The same for `views` views at a time."""
        for first in range(0, len(self.positive), views):
            part = slice(first, first + views)
            yield Conditioning(
                self.positive[part],
                self.negative[part],
                None if self.against is None else self.against[part],
                None if self.against_weights is None else self.against_weights[part],
            )


@runtime_checkable
class Guidance(Protocol):
    """A frozen diffusion model that scores images.

    abar: (T,) its noise schedule, double precision, on the CPU. channels: of the images that it is
    shown: 3 for display colours, or those of its latents when the field renders latents. size: H = W
    of those images. device: where it computes.
    """

    @property
    def abar(self) -> Float[Tensor, " T"]: ...

    @property
    def channels(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "n L D"]:
        """Embeddings of prompts; that of "" is the unconditional one."""
        ...

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        """What the model diffuses, from rendered images (display colours in [0, 1], or latents). Differentiable."""
        ...

    def eps(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditioning: Conditioning, cfg: float
    ) -> Float[Tensor, "B C h w"]:
        """eps_cfg = eps_u + cfg (eps_c - eps_u) at timestep t, single precision, without a gradient."""
        ...
