import dataclasses
import math
from pathlib import Path

import pytest
import torch

from backend import checkpoints
from backend.errors import UserError
from backend.prior.judge import SECTORS, Verdict
from backend.prior.judge_training import JudgeTraining, Trainer, loss
from backend.prior.lexicon import Lexicon

TINY = JudgeTraining(batch=16, warm_up=16)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    training = JudgeTraining(images=1000, batch=10, warm_up=100)
    assert training.rate(0) == pytest.approx(0.1)
    assert training.rate(500) == pytest.approx(0.5)
    assert training.rate(1000) == training.rate(2000) == 0


def test_which_way_an_object_faces_counts_only_where_it_has_a_front() -> None:
    even = Verdict(torch.full((2, 4), 0.25).log(), torch.full((2, SECTORS), 1 / SECTORS).log())
    nouns, sectors = torch.eye(4)[:2], torch.eye(SECTORS)[:2]
    value = loss(even, nouns, sectors, torch.tensor([0.5, 0.0]))
    assert value.item() == pytest.approx(math.log(4) + 0.25 * math.log(SECTORS))


def test_a_restored_trainer_takes_the_same_next_step(
    lexicon: Lexicon, tmp_path: Path, generator: torch.Generator
) -> None:
    images, nouns = torch.rand(8, 3, 16, 16, generator=generator), torch.eye(3)[torch.arange(8) % 3]
    lesson = (images, nouns, torch.eye(SECTORS), torch.ones(8))
    first = Trainer(TINY, lexicon)
    first.advance(*lesson)
    checkpoints.write(tmp_path, first.checkpoint())
    second = Trainer(dataclasses.replace(TINY, seed=9), lexicon)
    second.restore(checkpoints.read(tmp_path / "step-000000001"))
    for trainer in (first, second):
        trainer.advance(*lesson)
    assert first.images == second.images == 2 * TINY.batch
    for one, other in zip(first.judge.state_dict().values(), second.judge.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_judge_of_other_nouns_is_not_gone_on_with(lexicon: Lexicon) -> None:
    other = dataclasses.replace(lexicon, nouns=lexicon.nouns[::-1])
    with pytest.raises(UserError, match="other objects"):
        Trainer(TINY, lexicon).restore(Trainer(TINY, other).checkpoint())
