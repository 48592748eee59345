"""A judge under training: its loss, its steps, and the state that it goes on from.

Letters: B images, N nouns, S sectors.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.checkpoints import Checkpoint, flat, under
from backend.errors import UserError
from backend.guidance.precision import autocast
from backend.prior.judge import Judge, Verdict
from backend.prior.lexicon import Lexicon
from backend.prior.optimiser import Optimiser


@dataclass(frozen=True)
class JudgeTraining:
    """How a judge is trained. images: of all sessions together; the first `small` of them at half the size.

    untextured: the share of bare shapes. own: what the very noun counts in an answer, the rest being shared by all that
    are right. facing: what the way an object faces counts against its noun. checkpoint_every: in images.
    """

    images: int = 600_000
    small: int = 400_000
    batch: int = 128
    learning_rate: float = 3e-3
    warm_up: int = 15_000
    weight_decay: float = 0.05
    untextured: float = 0.25
    own: float = 0.7
    facing: float = 1.0
    checkpoint_every: int = 25_000
    seed: int = 0

    def rate(self, images: int) -> float:
        """Share of the learning rate after `images`: a linear warm-up, then half a cosine down to zero."""
        spent = min(1.0, images / self.images)
        return min(1.0, (images + self.batch) / self.warm_up) * (1 + math.cos(math.pi * spent)) / 2


def loss(
    verdict: Verdict, nouns: Float[Tensor, "B N"], sectors: Float[Tensor, "B S"], facing: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the answers; which way an object faces counts `facing` of a noun."""
    named = -(nouns * verdict.nouns).sum(-1)
    turned = -(sectors * verdict.sectors).sum(-1)
    return (named + facing * turned).mean()


class Trainer:
    """A judge under training, and how far it is."""

    def __init__(self, training: JudgeTraining, lexicon: Lexicon) -> None:
        self.training = training
        with torch.random.fork_rng():
            torch.manual_seed(training.seed)
            self.judge = Judge(lexicon)
        self.judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimiser = Optimiser(self.judge, training.learning_rate, training.learning_rate, training.weight_decay)
        self.step = 0

    @property
    def images(self) -> int:
        return self.step * self.training.batch

    @property
    def small(self) -> bool:
        """Whether pictures are still at half their size."""
        return self.images < self.training.small

    @property
    def finished(self) -> bool:
        return self.images >= self.training.images

    def advance(self, images: Float[Tensor, "B 3 H W"], *answers: Tensor) -> Float[Tensor, ""]:
        """Take one optimiser step; returns the loss."""
        with autocast(torch.device("cpu")):
            verdict = self.judge(images.contiguous(memory_format=torch.channels_last))
        value = loss(verdict, *answers)
        value.backward()
        self.optimiser.step(self.training.rate(self.images))
        self.step += 1
        return value.detach()

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to go on."""
        tensors = flat({"judge": self.judge.state_dict(), "optimiser": self.optimiser.state()})
        return Checkpoint(self.step, tensors, {"nouns": [*self.judge.lexicon.numbers]})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises UserError if it learnt other nouns."""
        if checkpoint.facts["nouns"] != [*self.judge.lexicon.numbers]:
            raise UserError("the judge was started with other objects; go on with the same, or remove its folder")
        self.judge.load_state_dict(under("judge", checkpoint.tensors))
        self.optimiser.restore(under("optimiser", checkpoint.tensors))
        self.step = checkpoint.step
