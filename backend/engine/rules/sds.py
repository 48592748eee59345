"""Score distillation sampling (DreamFusion, arXiv 2209.14988, eq. 3): the noise predicted, less the noise added.

Letters: B views, C x h x w what the model diffuses.
"""

from jaxtyping import Float
from torch import Tensor

from backend.engine.rules import guided
from backend.engine.rules.step import Step


def sds(step: Step) -> Float[Tensor, "B C h w"]:
    """e_cfg(z_t; y) - eps."""
    said, output = guided.ask(step, step.noisy(step.t), step.t, step.cfg)
    return said.eps(output) - step.noise
