"""The second stage of SDS as a bridge (arXiv 2406.09417, section 4): from bad pictures of a thing to good ones of it.

The difference of two predictions points from the distribution of the one text to that of the other. SDS takes
"anything" for where its render comes from; late in a run, "the prompt, badly drawn" describes that better.

Letters: B views, C x h x w what the model diffuses.
"""

from jaxtyping import Float
from torch import Tensor

from backend.engine.rules.step import Step

BETTER = ", detailed high resolution"
WORSE = ", oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, bad structure, noisy, malformed"
"""What the authors add to the prompt for either side. Only a model that was taught such words is moved by them."""


def bridge(step: Step) -> Float[Tensor, "B C h w"]:
    """e(z_t; better) - e(z_t; worse)."""
    if step.wishes.better is None or step.wishes.worse is None:
        raise ValueError("the bridge wants prompts for a better and a worse picture")
    said = step.predict(step.noisy(step.t), step.t, [step.wishes.worse, step.wishes.better])
    return said.eps(said.outputs[1]) - said.eps(said.outputs[0])
