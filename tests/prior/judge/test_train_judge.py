import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from backend import checkpoints
from backend.errors import UserError
from backend.prior import train_judge
from backend.prior.catalogue import Entry
from backend.prior.judge import SECTORS, Verdict
from backend.prior.lexicon import Lexicon
from backend.prior.pool import Pool
from backend.prior.train_judge import JudgeTraining, Lessons, Photographer, Split, Trainer

TINY = JudgeTraining(images=64, small=32, batch=16, warm_up=16, checkpoint_every=32)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    training = JudgeTraining(images=1000, batch=10, warm_up=100)
    assert training.rate(0) == pytest.approx(0.1)
    assert training.rate(500) == pytest.approx(0.5)
    assert training.rate(1000) == training.rate(2000) == 0


def test_some_views_and_some_objects_are_kept_for_the_exam(pool: Pool) -> None:
    split = Split.of(pool)
    assert sorted([*split.taught.tolist(), *split.new_views.tolist()]) == [*range(48), *range(64, 96)]
    assert split.new_views.tolist()[:9] == [*range(8, 16), 24]
    assert split.new_objects.tolist() == [*range(56, 64)]  # of the fourth bar


def test_pictures_are_what_is_to_be_seen_of_each_kind(pool: Pool, generator: torch.Generator) -> None:
    photographer = Photographer(pool, generator)
    index = torch.arange(64)
    painted, bare = photographer.textured(index), photographer.untextured(index)
    for images in (painted, bare):
        assert images.shape == (64, 3, 16, 16)
        assert images.min() >= 0
        assert images.max() <= 1
    assert photographer.textured(index, small=True).shape == (64, 3, 8, 8)
    middle = painted[:, :, 7:9, 7:9].mean((2, 3))
    assert 8 < (middle[:, 0] > middle[:, 1] + 0.2).sum() < 64  # red, where it was not painted over
    spread = bare[:, :, 7:9, 7:9].mean((2, 3))
    assert (spread.max(1).values - spread.min(1).values).max() < 0.15  # grey, but for the noise


def test_a_bent_picture_is_the_picture_still(generator: torch.Generator) -> None:
    images = torch.zeros(32, 3, 32, 32)
    images[:, :, 8:24, 6:12] = 1
    mirrored = torch.arange(32) < 16
    bent = train_judge.bent(images, mirrored, generator)
    left, right = bent[..., :16].sum((1, 2, 3)), bent[..., 16:].sum((1, 2, 3))
    assert ((right > left) == mirrored).all()
    assert bent.sum().item() == pytest.approx(images.sum().item(), rel=0.15)
    assert not torch.equal(bent[0], bent[1])


def test_an_answer_is_the_noun_and_a_little_of_what_else_is_right() -> None:
    lexicon = Lexicon.of([Entry("0", "armchair", ("chair",)), Entry("1", "chair"), Entry("2", "mug")])
    torch.testing.assert_close(
        train_judge.noun_targets(lexicon, own=0.8),
        torch.tensor([[0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0, 1]]),
    )


def test_a_camera_between_two_sectors_is_in_both() -> None:
    targets = train_judge.sector_targets(torch.tensor([0.0, 45, 67.5, -11.25]).deg2rad())
    expected = torch.zeros(4, SECTORS)
    expected[0, 0] = expected[1, 1] = 1
    expected[2, 1] = expected[2, 2] = 0.5
    expected[3, 0], expected[3, 7] = 0.75, 0.25
    torch.testing.assert_close(targets, expected, atol=1e-5, rtol=0)


def test_which_way_an_object_faces_counts_only_where_it_has_a_front() -> None:
    even = Verdict(torch.full((2, 4), 0.25).log(), torch.full((2, SECTORS), 1 / SECTORS).log())
    nouns, sectors = torch.eye(4)[:2], torch.eye(SECTORS)[:2]
    value = train_judge.loss(even, nouns, sectors, torch.tensor([0.5, 0.0]))
    assert value.item() == pytest.approx(math.log(4) + 0.25 * math.log(SECTORS))


def test_lessons_show_only_what_is_taught_mirrored_with_their_answers(pool: Pool, lexicon: Lexicon) -> None:
    generator = torch.Generator().manual_seed(0)
    lessons = Lessons(dataclasses.replace(TINY, batch=200), pool, lexicon, generator)
    images, nouns, sectors, facing = lessons.draw(small=False)
    assert images.shape == (200, 3, 16, 16)
    torch.testing.assert_close(nouns.sum(1), torch.ones(200))
    torch.testing.assert_close(sectors.sum(1), torch.ones(200))
    plate = nouns.argmax(1) == lexicon.numbers["plate"]
    assert (facing[plate] == 0).all()
    assert (facing[nouns.argmax(1) == lexicon.numbers["post"]] == 1).all()
    # Three bars are taught: a noun of three objects is shown more often than one of one, but not three times.
    assert 1.2 < (nouns.argmax(1) == lexicon.numbers["bar"]).sum() / plate.sum() < 2.6


def test_it_learns_to_tell_things_apart(pool: Pool, lexicon: Lexicon, tmp_path: Path) -> None:
    training = dataclasses.replace(TINY, images=16 * 60, small=0, checkpoint_every=10_000)
    net = train_judge.train(training, pool, lexicon, tmp_path)
    split = Split.of(pool)
    index = torch.cat([split.new_views, split.new_objects])
    shown = torch.tensor([lexicon.numbers[pool.entries[number].noun] for number in pool.entry[index].tolist()])
    photographer = Photographer(pool, torch.Generator().manual_seed(1))
    for images in (photographer.textured(index), photographer.untextured(index)):
        assert (net(images).nouns.argmax(-1) == shown).float().mean() > 0.7


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


def test_a_stopped_training_goes_on_and_a_finished_one_is_left_alone(
    pool: Pool, lexicon: Lexicon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, steps = Trainer.advance, []

    def stopping(trainer: Trainer, *lesson: torch.Tensor) -> torch.Tensor:
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append((trainer.step, lesson[0].shape[-1]))
        return advance(trainer, *lesson)

    monkeypatch.setattr(Trainer, "advance", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_judge.train(TINY, pool, lexicon, tmp_path)
    assert steps == [(0, 8), (1, 8), (2, 16)]
    steps.clear()
    train_judge.train(TINY, pool, lexicon, tmp_path)
    assert steps == [(2, 16), (3, 16)]
    steps.clear()
    train_judge.train(TINY, pool, lexicon, tmp_path)
    assert steps == []


def test_a_judge_of_other_nouns_is_not_gone_on_with(lexicon: Lexicon) -> None:
    other = dataclasses.replace(lexicon, nouns=lexicon.nouns[::-1])
    with pytest.raises(UserError, match="other objects"):
        Trainer(TINY, lexicon).restore(Trainer(TINY, other).checkpoint())


def test_pictures_of_what_the_folder_lacks_are_refused(pool: Pool, tmp_path: Path) -> None:
    lexicon = Lexicon.of(entry for entry in pool.entries if entry.noun != "post")
    with pytest.raises(UserError, match="post"):
        train_judge.train(TINY, pool, lexicon, tmp_path)


def test_a_run_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "mug.glb").touch()
    arguments = ["--objects", str(tmp_path), "--run", str(tmp_path)]
    result = CliRunner().invoke(train_judge.main, arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "holds no pictures" in result.output


def test_a_judge_lies_beside_its_checkpoints(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in pool.entries:
        (tmp_path / entry.file).touch()
    lines = [json.dumps(dataclasses.asdict(entry)) for entry in pool.entries]
    (tmp_path / "catalogue.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(train_judge.pool, "load", lambda folder: pool)
    arguments = ["--objects", str(tmp_path), "--run", str(tmp_path), "--images", "32", "--no-solids"]
    result = CliRunner().invoke(train_judge.main, arguments)
    assert result.exit_code == 0, result.output
    assert train_judge.judge.load(tmp_path / "judge").lexicon == Lexicon.of(pool.entries)
