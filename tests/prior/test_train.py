import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from backend import checkpoints
from backend.prior import model, train
from backend.prior.dataset import Batch
from backend.prior.train import Trainer, Training
from backend.prior.vocabulary import Vocabulary

CPU = torch.device("cpu")
TINY = Training(minutes=1, batch=4, pool=22)


def batch(generator: torch.Generator) -> Batch:
    images = torch.rand(4, 3, 32, 32, generator=generator)
    return Batch(images, ["a red mug"] * 4, torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize(
    ("step", "seconds", "share"),
    [(0, 0, 1 / 200), (99, 0, 0.5), (199, 0, 1.0), (500, 30, 1.0), (500, 45, 0.5), (500, 60, 0.0), (500, 99, 0.0)],
)
def test_the_learning_rate_warms_up_holds_and_ends_when_the_minutes_end(
    step: int, seconds: float, share: float
) -> None:
    assert TINY.rate(step, seconds) == pytest.approx(share * TINY.learning_rate)


def test_the_loss_of_a_perfect_prediction_is_that_of_the_known_velocity(generator: torch.Generator) -> None:
    # With nothing predicted, v's power is left: abar * 1 + (1 - abar) * E[x^2].
    trainer = Trainer(TINY, CPU)
    for parameter in trainer.prior.unet.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    images = torch.full((64, 3, 32, 32), 1.0)
    value = train.v_loss(trainer.prior, images, [""] * 64, torch.full((1000,), 0.3), generator)
    assert value.item() == pytest.approx(0.3 * 1 + 0.7 * 1, rel=0.02)


def test_steps_lower_the_loss_and_move_the_average(generator: torch.Generator) -> None:
    trainer = Trainer(dataclasses.replace(TINY, warm_up_steps=1, unconditional=0.0), CPU)
    before = trainer.average.unet.conv_in.weight.clone()
    images = batch(generator)
    losses = [trainer.advance(images, torch.Generator().manual_seed(3)).item() for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]
    assert not torch.equal(before, trainer.average.unet.conv_in.weight)


def test_a_restored_trainer_takes_the_same_next_step(generator: torch.Generator, tmp_path: Path) -> None:
    first = Trainer(TINY, CPU)
    for _ in range(2):
        first.advance(batch(generator), torch.Generator().manual_seed(1))
    checkpoints.write(tmp_path, first.checkpoint())
    second = Trainer(dataclasses.replace(TINY, seed=9), CPU)
    second.restore(checkpoints.read(tmp_path / "step-000000002"))
    second.training = first.training
    assert second.seconds == first.seconds
    images = batch(generator)
    for trainer in (first, second):
        trainer.seconds = 0.0
        trainer.advance(images, torch.Generator().manual_seed(2))
    for a, b in zip(first.prior.modules().parameters(), second.prior.modules().parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_non_finite_loss_stops_and_names_the_step(generator: torch.Generator) -> None:
    trainer = Trainer(TINY, CPU)
    images = dataclasses.replace(batch(generator), images=torch.full((4, 3, 32, 32), torch.nan))
    with pytest.raises(FloatingPointError, match="step 0"):
        trainer.advance(images, generator)


@pytest.mark.parametrize(("fact", "value", "message"), [("size", 64, "--size 64"), ("words", ["a"], "words")])
def test_a_checkpoint_of_another_kind_is_refused(fact: str, value: object, message: str) -> None:
    trainer = Trainer(TINY, CPU)
    other = trainer.checkpoint()
    other.facts[fact] = value
    with pytest.raises(ValueError, match=message):
        trainer.restore(other)


RUN = """
import sys
from pathlib import Path
import torch
from backend.prior.train import Training, train
training = Training(minutes=float(sys.argv[2]), batch=4, pool=22, checkpoint_seconds=0.2, sheet_seconds=1e9)
train(training, torch.device("cpu"), Path(sys.argv[1]), resume=sys.argv[3] == "resume")
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    process = subprocess.Popen([*command, "60", "start"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("step-?????????"))) < 2:
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = checkpoints.newest(tmp_path)
    assert killed is not None
    minutes = (killed.facts["seconds"] + 2) / 60
    done = subprocess.run([*command, str(minutes), "resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = checkpoints.newest(tmp_path)
    assert after is not None
    assert after.step > killed.step
    assert after.facts["seconds"] >= 60 * minutes


def test_resuming_nothing_or_starting_over_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without --resume"):
        train.train(TINY, CPU, tmp_path, resume=True)
    checkpoints.write(tmp_path, Trainer(TINY, CPU).checkpoint())
    with pytest.raises(ValueError, match="go on with --resume"):
        train.train(TINY, CPU, tmp_path, resume=False)


def test_a_run_started_from_a_model_begins_with_its_weights(tmp_path: Path) -> None:
    other = Trainer(dataclasses.replace(TINY, seed=9), CPU)
    model.save(other.prior, tmp_path)
    Vocabulary().save(tmp_path)
    begun = Trainer(TINY, CPU, tmp_path)
    assert "_name_or_path" not in begun.prior.unet.config
    for saved, started in zip(other.prior.modules().parameters(), begun.prior.modules().parameters(), strict=True):
        assert started.requires_grad
        assert torch.allclose(saved, started, atol=1e-3)  # models are kept in half precision


def test_a_model_that_does_not_fit_the_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        Trainer(TINY, CPU, tmp_path)
    model.save(model.build(32), tmp_path)
    with pytest.raises(ValueError, match="--size 32"):
        Trainer(dataclasses.replace(TINY, size=64), CPU, tmp_path)
    Vocabulary(objects=("cube",)).save(tmp_path)
    with pytest.raises(ValueError, match="other words"):
        Trainer(TINY, CPU, tmp_path)


@pytest.mark.parametrize(
    "arguments", [["--minutes", "0"], ["--minutes", "-3"], ["--size", "48"], ["--minutes", "1", "x"]]
)
def test_bad_arguments_are_refused_in_one_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(train.main, arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_a_missing_gpu_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = tmp_path / "run"
    result = CliRunner().invoke(train.main, ["--minutes", "1", "--device", "cuda", "--run", str(run)])
    assert result.exit_code == 2
    assert "--device cpu" in result.output
    assert not run.exists()
