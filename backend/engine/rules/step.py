"""What a rule is given, and what it may ask.

Letters: B views, C x h x w what the model diffuses, K conditionings, L tokens of width D, abar = alphas_cumprod.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.guidance.interface import Guidance, Rival, Wishes
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views


@dataclass(frozen=True)
class Step:
    """One step of distillation.

    clean: the images in the model's space. noise: of unit variance, what hides them at timestep `t`. wishes, views: of
    each image. draws: a generator for each purpose that a rule draws for. rival: for a rule that wants one.
    """

    guidance: Guidance
    clean: Float[Tensor, "B C h w"]
    noise: Float[Tensor, "B C h w"]
    t: int
    wishes: Wishes
    views: Views
    cfg: float
    draws: Callable[[str], torch.Generator]
    rival: Rival | None = None

    def abar(self, t: int) -> float:
        """The share of the images in the power of what is noisy at timestep `t`."""
        return float(self.guidance.abar[t])

    def noisy(self, t: int, noise: Float[Tensor, "B C h w"] | None = None) -> Float[Tensor, "B C h w"]:
        """z_t = sqrt(abar) z + sqrt(1 - abar) eps, with the step's own noise or another."""
        abar = self.abar(t)
        return abar**0.5 * self.clean + (1 - abar) ** 0.5 * (self.noise if noise is None else noise)

    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]]
    ) -> Predictions:
        """One call of the model."""
        return self.guidance.predict(noisy, t, conditionings, self.views)


Rule = Callable[[Step], Float[Tensor, "B C h w"]]
"""What to subtract from the images in the model's space, but for the weight w(t); a constant."""
