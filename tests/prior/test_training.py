"""The trainer: its loss, its steps, and the state that it goes on from."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from backend import checkpoints
from backend.engine.cameras import CameraDistribution
from backend.engine.shading import Lights
from backend.guidance.views import Views
from backend.prior import model, network, training
from backend.prior.drawing import Batch
from backend.prior.model import Prior
from backend.prior.pool import RIG
from backend.prior.training import Trainer, Training, v_loss

from .tiny import CPU, SMALL, TINY, WORDS


def batch(seed: int = 0, rig: int = 1, size: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    cameras = CameraDistribution().rigs(2, RIG, generator)
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0]] * 8), torch.rand(8, generator=generator))
    images = torch.rand(8, 3, size, size, generator=generator)
    return Batch(images, ["a red mug"] * 8, Views(cameras, lights), rig, torch.zeros(8).long())


def advanced(trainer: Trainer, steps: int, first: int = 0) -> Trainer:
    for step in range(first, first + steps):
        trainer.advance(batch(step, rig=RIG if step % 2 else 1), torch.Generator().manual_seed(step))
    return trainer


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("images", "share"),
    [(0, 0.5), (8, 1.0), (500, 1.0), (700, 1.0), (850, 0.5), (1000, 0.0), (1008, 0.0)],
)
def test_the_learning_rate_warms_up_holds_and_ends_with_the_images(images: int, share: float) -> None:
    assert TINY.rate(images) == pytest.approx(share)


@pytest.mark.parametrize("wrong", [{"images": 0}, {"images": -1}, {"batch": 6}, {"batch": 0}, {"pictures": 6}])
def test_a_training_without_images_or_whole_rigs_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(TINY, **wrong)


def test_the_loss_of_nothing_predicted_is_the_power_of_the_velocity() -> None:
    # abar * E[noise^2] + (1 - abar) * E[x^2], of pictures that are all white.
    trainer = Trainer(TINY, WORDS, CPU)
    for parameter in trainer.prior.unet.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    white = dataclasses.replace(batch(), images=torch.ones(8, 3, 32, 32))
    abar, t = torch.full((1000,), 0.3), torch.zeros(8).long()
    loss = v_loss(trainer.prior, white, [""] * 8, t, abar, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.3 * 1 + 0.7 * 1, rel=0.02)


def test_steps_lower_the_loss_and_move_the_average() -> None:
    # Of one size throughout, so that all steps are taken at the same timesteps.
    trainer = Trainer(dataclasses.replace(TINY, small=0, unconditional=0.0), WORDS, CPU)
    before = [parameter.clone() for parameter in trainer.average.modules().parameters()]
    same = batch()
    losses = [trainer.advance(same, torch.Generator().manual_seed(3)).item() for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    after = list(trainer.average.modules().parameters())
    moved = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    assert sum(moved) > 0.9 * len(moved)  # embeddings of words that did not occur stay
    assert (trainer.step, trainer.images) == (12, 96)


def test_views_of_a_rig_are_joined_for_batches_of_rigs_alone() -> None:
    trainer = Trainer(TINY, WORDS, CPU)
    advanced(trainer, 1, first=1)
    assert trainer.joint.views == RIG
    advanced(trainer, 1, first=2)
    assert trainer.joint.views == 1


def test_a_restored_trainer_takes_the_same_next_step(tmp_path: Path) -> None:
    first = advanced(Trainer(TINY, WORDS, CPU), 3)
    checkpoints.write(tmp_path, first.checkpoint())
    second = Trainer(dataclasses.replace(TINY, seed=9), WORDS, CPU)
    second.restore(checkpoints.read(tmp_path / "step-000000003"))
    assert (second.step, second.images) == (3, 24)
    for trainer in (first, second):
        advanced(trainer, 2, first=3)
    assert same_weights(first.prior.modules(), second.prior.modules())
    assert same_weights(first.average.modules(), second.average.modules())


def test_a_non_finite_loss_stops_and_names_the_step_before_anything_changes() -> None:
    trainer = Trainer(TINY, WORDS, CPU)
    before = [parameter.clone() for parameter in trainer.prior.modules().parameters()]
    broken = dataclasses.replace(batch(), images=torch.full((8, 3, 32, 32), torch.nan))
    with pytest.raises(FloatingPointError, match="step 0"):
        trainer.advance(broken, torch.Generator())
    assert all(torch.equal(*pair) for pair in zip(before, trainer.prior.modules().parameters(), strict=True))


@pytest.mark.parametrize(
    ("other", "words", "what"),
    [
        (TINY, [*WORDS, "teapot"], "objects, or words"),
        (dataclasses.replace(TINY, size=64), WORDS, "size"),
        (dataclasses.replace(TINY, architecture=dataclasses.replace(SMALL, heads=4)), WORDS, "architecture"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(other: Training, words: list[str], what: str) -> None:
    kept = Trainer(TINY, WORDS, CPU).checkpoint()
    with pytest.raises(ValueError, match=f"started with other {what}"):
        Trainer(other, words, CPU).restore(dataclasses.replace(kept, facts=json.loads(json.dumps(kept.facts))))


def test_a_checkpoint_of_something_else_altogether_is_refused() -> None:
    with pytest.raises(ValueError, match="start a new one"):
        Trainer(TINY, WORDS, CPU).restore(checkpoints.Checkpoint(3, {}, {"seconds": 2.0}))


def test_small_pictures_are_shown_at_noisy_timesteps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[torch.Tensor] = []
    measure = training.v_loss
    monkeypatch.setattr(training, "v_loss", lambda *given: shown.append(given[3]) or measure(*given))
    trainer, draws = Trainer(dataclasses.replace(TINY, small=40), WORDS, CPU), torch.Generator().manual_seed(0)
    for _ in range(40):
        trainer.advance(batch(), draws)
    small, large = torch.cat(shown[:5]), torch.cat(shown[5:])
    assert small.min() >= 300
    assert large.min() < 50


def test_a_checkpoint_of_an_older_network_is_refused() -> None:
    kept = Trainer(TINY, WORDS, CPU).checkpoint()
    name = "prior.unet.add_embedding.proj.weight"
    older = {key: tensor for key, tensor in kept.tensors.items() if key != name}
    assert len(older) == len(kept.tensors) - 1
    with pytest.raises(ValueError, match="started by an older version"):
        Trainer(TINY, WORDS, CPU).restore(dataclasses.replace(kept, tensors=older))


def test_a_run_that_starts_from_a_model_begins_with_its_weights(tmp_path: Path) -> None:
    other = network.build(32, WORDS, SMALL, seed=9)
    model.save(other, tmp_path)
    trainer = Trainer(TINY, WORDS, CPU)
    trainer.begin_with(tmp_path)
    for saved, mine, average in zip(
        other.modules().parameters(),
        trainer.prior.modules().parameters(),
        trainer.average.modules().parameters(),
        strict=True,
    ):
        assert mine.requires_grad
        torch.testing.assert_close(mine, saved, atol=1e-3, rtol=1e-3)  # models are kept in half precision
        assert torch.equal(mine, average)
    before = trainer.prior.unet.mid_block.resnets[0].conv1.weight.detach().clone()
    advanced(trainer, 1)
    assert not torch.equal(trainer.prior.unet.mid_block.resnets[0].conv1.weight, before)


def test_a_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(TINY, WORDS, CPU)
    with pytest.raises(FileNotFoundError, match="holds no model"):
        trainer.begin_with(tmp_path)
    for name, other in (("deeper", {"channels": (16, 32, 48)}), ("wordier", {"text_width": 64})):
        model.save(network.build(32, WORDS, dataclasses.replace(SMALL, **other), seed=0), tmp_path / name)
        with pytest.raises(ValueError, match="another network"):
            trainer.begin_with(tmp_path / name)


def test_words_that_a_model_knows_mean_the_same_to_a_run_that_starts_from_it(tmp_path: Path) -> None:
    other = network.build(32, ["aardvark", *WORDS[1:]], SMALL, seed=9)
    model.save(other, tmp_path)
    trainer = Trainer(TINY, WORDS, CPU)
    new = embedding(trainer.prior, WORDS[0]).clone()
    trainer.begin_with(tmp_path)
    for prior in (trainer.prior, trainer.average):
        for word in WORDS[1:]:
            torch.testing.assert_close(embedding(prior, word), embedding(other, word), atol=1e-3, rtol=1e-3)
        assert torch.equal(embedding(prior, WORDS[0]), new)


def embedding(prior: Prior, word: str) -> torch.Tensor:
    return prior.text_encoder.get_input_embeddings().weight[prior.tokenizer.get_vocab()[word]]
