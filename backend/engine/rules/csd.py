"""Classifier score distillation (arXiv 2310.19415): where the prompt pulls, and nothing else.

Of e_cfg - eps = cfg (e(y) - e_u) + (e_u - eps) the second part draws towards any likely image and carries the added
noise; the paper finds that the first one does the work.

Letters: B views, C x h x w what the model diffuses.
"""

from jaxtyping import Float
from torch import Tensor

from backend.engine.rules import guided
from backend.engine.rules.step import Step


def csd(step: Step) -> Float[Tensor, "B C h w"]:
    """e_cfg(z_t; y) - e_u(z_t) = cfg (e(y) - e_u), with what Perp-Neg adds to it.

    cfg keeps its size beside the regularisers what it is in `sds`.
    """
    said = step.predict(step.noisy(step.t), step.t, guided.conditionings(step.wishes))
    return said.eps(guided.combined(said, step.wishes, step.cfg)) - said.eps(said.outputs[0])
