"""MVDream's loss by the predicted image (arXiv 2308.16512, section 3.2), rescaled (arXiv 2305.08891, eq. 15 and 16).

A large cfg predicts images of too much contrast; half-way back to the contrast that they have without it, colours burn
out less. Letters: B views, C x h x w what the model diffuses.
"""

from jaxtyping import Float
from torch import Tensor

from backend.engine.rules import guided
from backend.engine.rules.step import Step

RESCALED = 0.5
"""How far the contrast goes back to that of the prediction without guidance."""


def x0(step: Step) -> Float[Tensor, "B C h w"]:
    """z - x0', the slope of |z - x0'|^2 / 2. The contrast is that of all views together: a dark side may stay dark."""
    said = step.predict(step.noisy(step.t), step.t, guided.conditionings(step.wishes))
    clean, plain = said.clean(guided.combined(said, step.wishes, step.cfg)), said.clean(said.outputs[1])
    factor = plain.std() / clean.std()
    return step.clean - (RESCALED * factor + 1 - RESCALED) * clean
