"""What a model says of noisy images, and what that stands for.

Letters: B views, K conditionings, C x h x w what the model diffuses.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from backend.guidance.folders import Prediction


def target(
    kind: Prediction,
    clean: Float[Tensor, "B C h w"],
    noise: Float[Tensor, "B C h w"],
    abar: Float[Tensor, "B 1 1 1"],
) -> Float[Tensor, "B C h w"]:
    """The output of a model that knows what its noisy images were mixed of."""
    match kind:
        case "epsilon":
            return noise
        case "v_prediction":
            return abar.sqrt() * noise - (1 - abar).sqrt() * clean
        case "sample":
            return clean


@dataclass(frozen=True)
class Predictions:
    """What a model makes of B noisy images under each of K conditionings, at one timestep.

    outputs: as its network puts it, in single precision, without a gradient. kind: what that stands for; it is an
    affine function of the noise, the same for all K. So outputs may be combined, if their weights sum to 1, before they
    are read as noise, and large weights cost no digits.
    """

    outputs: Float[Tensor, "K B C h w"]
    noisy: Float[Tensor, "B C h w"]
    abar: float
    kind: Prediction = "epsilon"

    def eps(self, output: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The noise in the images by `output`, which is one of the model's or a combination of them."""
        signal, noise = self.abar**0.5, (1 - self.abar) ** 0.5
        match self.kind:
            case "epsilon":
                return output
            case "v_prediction":  # v = sqrt(abar) eps - sqrt(1 - abar) x_0
                return signal * output + noise * self.noisy
            case "sample":
                return (self.noisy - signal * output) / noise

    def clean(self, output: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """x_0, the images without the noise, by `output`."""
        signal, noise = self.abar**0.5, (1 - self.abar) ** 0.5
        match self.kind:
            case "epsilon":
                return (self.noisy - noise * output) / signal
            case "v_prediction":
                return signal * self.noisy - noise * output
            case "sample":
                return output
