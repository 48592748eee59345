import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from backend.errors import UserError
from backend.prior import train_judge
from backend.prior.judge_training import JudgeTraining, Trainer
from backend.prior.lessons import Split
from backend.prior.lexicon import Lexicon
from backend.prior.photographer import Photographer
from backend.prior.pool import Pool

TINY = JudgeTraining(images=64, small=32, batch=16, warm_up=16, checkpoint_every=32)


def test_it_learns_to_tell_things_apart(pool: Pool, lexicon: Lexicon, tmp_path: Path) -> None:
    training = dataclasses.replace(TINY, images=16 * 60, small=0, checkpoint_every=10_000)
    net = train_judge.train(training, pool, lexicon, tmp_path)
    split = Split.of(pool)
    index = torch.cat([split.new_views, split.new_objects])
    shown = torch.tensor([lexicon.numbers[pool.entries[number].noun] for number in pool.entry[index].tolist()])
    photographer = Photographer(pool, torch.Generator().manual_seed(1))
    for images in (photographer.textured(index), photographer.untextured(index)):
        assert (net(images).nouns.argmax(-1) == shown).float().mean() > 0.7


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
