"""What the engine asks of a diffusion model.

Letters: B views, c x H x W rendered images, C x h x w what the model diffuses, T timesteps of its noise
schedule, L tokens of width D, K conditionings, A things to keep away from, abar = alphas_cumprod.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.guidance.predictions import Predictions
from backend.guidance.views import Views


@dataclass(frozen=True)
class Wishes:
    """What is asked for in each of B views, and what is not: embeddings, each of them a conditioning.

    positive: of the prompt. negative: of the negative prompt, or of "" without one. against, against_weights:
    Perp-Neg's (arXiv 2304.04968) other prompts and how strongly to avoid each, or None without Perp-Neg.
    better, worse: of the prompt with words for a good and for a bad picture, where a rule wants them.
    """

    positive: Float[Tensor, "B L D"]
    negative: Float[Tensor, "B L D"]
    against: Float[Tensor, "B A L D"] | None = None
    against_weights: Float[Tensor, "B A"] | None = None
    better: Float[Tensor, "B L D"] | None = None
    worse: Float[Tensor, "B L D"] | None = None

    def part(self, views: slice) -> "Wishes":
        """What is asked for in some of the views."""
        optional = (self.against, self.against_weights, self.better, self.worse)
        some = (None if asked is None else asked[views] for asked in optional)
        return Wishes(self.positive[views], self.negative[views], *some)


@runtime_checkable
class Guidance(Protocol):
    """A frozen diffusion model that scores images.

    abar: (T,) its noise schedule, double precision, on the CPU. channels: of the images that it is
    shown: 3 for display colours, or those of its latents when the field renders latents. size: H = W
    of those images; others are scaled to it. schedule_size: by which timesteps are translated (see
    `schedules`): pixels of a picture, but Stable Diffusion's 64 for latents of any size. device: where it computes.
    """

    @property
    def abar(self) -> Float[Tensor, " T"]: ...

    @property
    def channels(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def schedule_size(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def encode(self, prompts: Sequence[str], endings: Sequence[str] | None = None) -> Float[Tensor, "n L D"]:
        """Embeddings of prompts; that of "" is the unconditional one.

        endings: what comes after each of them, whole, however long the prompt is.
        """
        ...

    def plain(self, colours: Float[Tensor, "B 3"]) -> Float[Tensor, "B c"]:
        """What a picture of one display colour in [0, 1] is in the channels that are rendered."""
        ...

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        """What the model diffuses, from rendered images (display colours in [0, 1], or latents). Differentiable."""
        ...

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        """What the model says at timestep t under each of K conditionings: one call of its network for all of them.

        A model that was not taught how pictures are taken takes no notice of `views`.
        """
        ...


@runtime_checkable
class Rival(Protocol):
    """A second model, which learns during a run what its renders look like; see `engine.rules.vsd`."""

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        """What it says by now; see `Guidance.predict`. It takes notice of `views`, whatever its model was taught."""
        ...

    def learn(
        self,
        clean: Float[Tensor, "B C h w"],
        noise: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        conditioning: Float[Tensor, "B L D"],
        views: Views,
    ) -> float:
        """Take one step towards telling `noise` from `clean`, mixed at timesteps `t`; returns the loss before it.

        That is a mean of squares. Where it, or its slope, is not finite, nothing is learnt and nan is returned.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """All tensors that what it says and learns from now on depends on; no copies."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Be as the rival was that had `state`."""
        ...
