"""Variational score distillation (ProlificDreamer, arXiv 2305.16213): against a rival that knows the renders.

SDS subtracts the noise that was added, as if the render at hand were the only one there is. VSD subtracts what a second
model takes for noise, which is trained on the renders beside the field: where they look as the prompt's images do,
nothing is wanted any more. Under a schedule that never increases it is TP-VSD (DreamTime, arXiv 2306.12422).

Letters: B views, C x h x w what the model diffuses.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.rules import guided
from backend.engine.rules.step import Step
from backend.guidance.interface import Rival


def vsd(step: Step) -> Float[Tensor, "B C h w"]:
    """e_cfg(z_t; y) - e_rival(z_t; y), with one noise in both: a call of either model."""
    if step.rival is None:
        raise ValueError("vsd wants a rival to train beside the field")
    noisy = step.noisy(step.t)
    said, output = guided.ask(step, noisy, step.t, step.cfg)
    rival = step.rival.predict(noisy, step.t, [step.wishes.positive], step.views)
    return said.eps(output) - rival.eps(rival.outputs[0])


def teach(step: Step, rival: Rival) -> float:
    """Let `rival` learn from the step's images; returns its loss.

    Whatever the schedule says, its timesteps are uniform, as ProlificDreamer's are: it is to know already what it will
    be asked next. Views that see each other are equally noisy, as a rig is that a model was taught.
    """
    draws, joint = step.draws("rival"), step.views.joint
    count = len(step.clean)
    t = torch.randint(len(step.guidance.abar), (count // joint,), generator=draws, device=draws.device)
    noise = torch.randn(step.clean.shape, generator=draws, device=draws.device)
    return rival.learn(step.clean, noise, t.repeat_interleave(joint), step.wishes.positive, step.views)
