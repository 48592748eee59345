"""What the judge is taught of a pool: which of its pictures, and what is to be answered to each.

Letters: B images, N nouns, S sectors.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.prior.judge import SECTORS, right_answers
from backend.prior.judge_training import JudgeTraining
from backend.prior.lexicon import Lexicon
from backend.prior.photographer import Photographer, bent
from backend.prior.pool import RIG, Pool

EXAM_VIEWS = 2 * RIG
"""The last views of every object, which are kept for the exam."""

_FEWEST = 4
"""Of every noun that has so many objects, one is kept for the exam."""

_MIRRORED = 0.5


@dataclass(frozen=True)
class Split:
    """Which pictures of a pool the judge learns from, and which it is examined on: EXAM_VIEWS of each object, those
    that it knows by other views and those that it does not know.
    """

    taught: Int[Tensor, " n"]
    new_views: Int[Tensor, " m"]
    new_objects: Int[Tensor, " k"]

    @classmethod
    def of(cls, pool: Pool) -> "Split":
        """The last EXAM_VIEWS of each object are kept, and of every noun with four objects or more the last one."""
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(pool.entries):
            kinds[entry.noun].append(number)
        kept = torch.zeros(len(pool.entries), dtype=torch.bool)
        kept[[numbers[-1] for numbers in kinds.values() if len(numbers) >= _FEWEST]] = True
        counts = pool.entry.bincount()
        left = counts.cumsum(0)[pool.entry] - torch.arange(len(pool.entry))
        new, late = kept[pool.entry], left <= EXAM_VIEWS
        return cls(*((which).nonzero()[:, 0] for which in (~new & ~late, ~new & late, new & late)))


def noun_targets(lexicon: Lexicon, own: float) -> Float[Tensor, "N N"]:
    """For each noun shown, what is to be answered: `own` for itself, the rest shared by all right answers."""
    targets = right_answers(lexicon).float()
    return own * torch.eye(len(targets)) + (1 - own) * targets / targets.sum(-1, keepdim=True)


def sector_targets(azimuth: Float[Tensor, " B"]) -> Float[Tensor, "B S"]:
    """What is to be answered for cameras at `azimuth`: the two nearest sectors, the nearer the more."""
    place = azimuth * SECTORS / (2 * math.pi)
    low = place.floor()
    shares = torch.stack([1 - (place - low), place - low], dim=-1)
    both = torch.stack([low, low + 1], dim=-1).long() % SECTORS
    return torch.zeros(len(azimuth), SECTORS).scatter_add(1, both, shares)


class Lessons:
    """Batches of pictures and right answers, without end."""

    def __init__(self, training: JudgeTraining, pool: Pool, lexicon: Lexicon, generator: torch.Generator) -> None:
        self._training, self._pool, self._generator = training, pool, generator
        self._photographer = Photographer(pool, generator)
        self._taught = Split.of(pool).taught
        self._targets = noun_targets(lexicon, training.own)
        self._noun = torch.tensor([lexicon.numbers[entry.noun] for entry in pool.entries])
        self._has_front = torch.tensor([entry.has_front for entry in pool.entries])
        shown = self._noun[pool.entry[self._taught]]
        # Between all objects alike and all nouns alike, as the model sees them.
        self._weights = shown.bincount(minlength=len(lexicon.nouns))[shown].float().rsqrt()

    def draw(
        self, small: bool
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B N"], Float[Tensor, "B S"], Float[Tensor, " B"]]:
        """Images, and the right answers as `loss` takes them. small: at half their size."""
        training, generator = self._training, self._generator
        index = self._taught[torch.multinomial(self._weights, training.batch, replacement=True, generator=generator)]
        bare = int(training.batch * training.untextured)
        kinds = self._photographer.untextured(index[:bare], small), self._photographer.textured(index[bare:], small)
        mirrored = torch.rand(training.batch, generator=generator) < _MIRRORED
        entry, azimuth = self._pool.entry[index], self._pool.cameras.azimuth[index]
        return (
            bent(torch.cat(kinds), mirrored, generator),
            self._targets[self._noun[entry]],
            sector_targets(torch.where(mirrored, -azimuth, azimuth)),
            training.facing * self._has_front[entry],
        )
