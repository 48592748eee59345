from pathlib import Path

import pytest
import torch

from backend.prior import judge, train_judge
from backend.prior.judge import Judge, Verdict, judging_views
from backend.prior.train_judge import JudgeTraining
from backend.prior.vocabulary import Vocabulary

SMALL = Vocabulary(objects=("sphere", "cube"), colours=("red", "green", "blue"), patterns=("striped",))


def test_an_answer_is_a_distribution_over_what_the_model_knows(generator: torch.Generator) -> None:
    torch.manual_seed(0)
    verdict = Judge(SMALL)(torch.rand(5, 3, 32, 32, generator=generator))
    assert verdict.captions.shape == (5, 2, 3)
    for row in (verdict.objects, verdict.colours, verdict.patterns, verdict.views):
        torch.testing.assert_close(row.exp().sum(-1), torch.ones(5))


def test_images_of_any_size_are_judged_alike(generator: torch.Generator) -> None:
    torch.manual_seed(0)
    net = Judge(SMALL)
    small = torch.rand(2, 3, 32, 32, generator=generator)
    large = small.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    torch.testing.assert_close(net(small).objects, net(large).objects, atol=0.1, rtol=0)


def test_views_of_one_object_are_judged_together_by_the_mean() -> None:
    rows = torch.tensor([[0.0, -2.0], [-1.0, 0.0], [-4.0, -2.0], [-6.0, -2.0]])
    together = Verdict(rows, rows, rows, rows).together(views=2)
    torch.testing.assert_close(together.objects, torch.tensor([[-0.5, -1.0], [-5.0, -2.0]]))
    torch.testing.assert_close(together.captions[0], torch.tensor([[-1.0, -1.5], [-1.5, -2.0]]))


def test_the_judging_views_go_around_the_object() -> None:
    cameras = judging_views()
    assert len(cameras.azimuth) == 8
    torch.testing.assert_close(cameras.backward[:, :2].sum(0), torch.zeros(2), atol=1e-5, rtol=0)


def test_it_is_kept_in_half_precision_and_says_the_same(tmp_path: Path, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    net = Judge(SMALL).eval()
    judge.save(net, tmp_path)
    SMALL.save(tmp_path)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    again = judge.load(tmp_path)
    assert again.vocabulary == SMALL
    torch.testing.assert_close(again(images).objects, net(images).objects, atol=0.01, rtol=0)


def test_training_learns_from_pictures_that_show_what_they_are_said_to() -> None:
    net = train_judge.train(JudgeTraining(steps=80, batch=32, pool=132))
    generator = torch.Generator().manual_seed(1)
    pool = train_judge.dataset.trace_pool(132, 32, train_judge.JUDGES_WORLD, generator)
    index = torch.arange(132)
    images, answers = train_judge.pictures(pool, index, torch.zeros(132, dtype=torch.bool), generator)
    right = net(images).colours.argmax(-1) == answers.colour
    assert right.float().mean() > 2 / 12


def test_untextured_pictures_do_not_ask_for_colour_or_pattern(generator: torch.Generator) -> None:
    pool = train_judge.dataset.trace_pool(44, 32, train_judge.JUDGES_WORLD, generator, chunk=2)
    untextured = torch.arange(44) % 2 == 0
    images, answers = train_judge.pictures(pool, torch.arange(44), untextured, generator)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(answers.colour == -1, untextured)
    assert torch.equal(answers.pattern == -1, untextured)
    assert torch.equal(answers.shape, pool.shape)


def test_loss_is_the_mean_negative_log_likelihood_of_what_is_shown() -> None:
    even = torch.full((2, 4), 0.25).log()
    sure = torch.tensor([[0.0, -9.0], [-9.0, 0.0]])
    answers = train_judge.Answers(
        torch.tensor([0, 1]), torch.tensor([-1, 2]), torch.tensor([0, -1]), torch.tensor([3, 0])
    )
    value = train_judge.loss(Verdict(sure, even, even, even), answers)
    assert value.item() == pytest.approx(3 * torch.tensor(4.0).log().item())
