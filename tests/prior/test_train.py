import dataclasses
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from backend import checkpoints
from backend.engine.cameras import CameraDistribution
from backend.engine.shading import Lights
from backend.errors import UserError
from backend.guidance.views import Views
from backend.prior import model, network, train, words
from backend.prior.catalogue import Entry
from backend.prior.drawing import Batch
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior
from backend.prior.network import Architecture
from backend.prior.pool import RIG
from backend.prior.train import Trainer, Training

from .conftest import Taken

CPU = torch.device("cpu")
SMALL = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)
TINY = Training(images=1000, size=32, small=16, batch=8, warm_up=16, pictures=8, architecture=SMALL)
WORDS = ["a", "mug", "red"]
KNOWN = Lexicon.of([Entry("0", "mug")])


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
    loss = train.v_loss(trainer.prior, white, [""] * 8, t, abar, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.3 * 1 + 0.7 * 1, rel=0.02)


def test_steps_lower_the_loss_and_move_the_average() -> None:
    trainer = Trainer(dataclasses.replace(TINY, unconditional=0.0), WORDS, CPU)
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
    ("training", "words", "what"),
    [
        (TINY, [*WORDS, "teapot"], "objects, or words"),
        (dataclasses.replace(TINY, size=64), WORDS, "size"),
        (dataclasses.replace(TINY, architecture=dataclasses.replace(SMALL, heads=4)), WORDS, "architecture"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(training: Training, words: list[str], what: str) -> None:
    kept = Trainer(TINY, WORDS, CPU).checkpoint()
    with pytest.raises(ValueError, match=f"started with other {what}"):
        Trainer(training, words, CPU).restore(dataclasses.replace(kept, facts=json.loads(json.dumps(kept.facts))))


def test_a_checkpoint_of_something_else_altogether_is_refused() -> None:
    with pytest.raises(ValueError, match="start a new one"):
        Trainer(TINY, WORDS, CPU).restore(checkpoints.Checkpoint(3, {}, {"seconds": 2.0}))


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


def run_of(taken: Taken, folder: Path) -> Path:
    """A run whose pictures are there already."""
    shutil.copytree(taken.pictures, folder / "pictures")
    return folder


def trained(taken: Taken, run: Path, images: int, **settings: int) -> None:
    training = dataclasses.replace(TINY, images=images, checkpoint_every=8, **settings)
    train.train(training, taken.sources, CPU, run)


def newest(run: Path) -> checkpoints.Checkpoint:
    found = checkpoints.newest(run)
    assert found
    return found


def test_a_run_ends_with_its_last_image_and_goes_on_with_more(taken: Taken, tmp_path: Path) -> None:
    run = run_of(taken, tmp_path / "run")
    trained(taken, run, images=20)
    ended = newest(run)
    assert (ended.step, ended.facts["images"]) == (3, 24)
    drawn = sorted(path.name for path in run.glob("sheet-*.png"))
    assert drawn == ["sheet-00000024.png"]
    written = (run / "model" / "model_index.json").stat().st_mtime_ns
    trained(taken, run, images=20)
    assert newest(run).step == 3
    assert (run / "model" / "model_index.json").stat().st_mtime_ns == written
    trained(taken, run, images=32)
    assert newest(run).facts["images"] == 32


def test_the_model_of_a_run_is_its_moving_average(taken: Taken, tmp_path: Path) -> None:
    run = run_of(taken, tmp_path / "run")
    trained(taken, run, images=16)
    saved = model.load(run / "model")
    assert saved.takes_views
    kept = {name: tensor for name, tensor in newest(run).tensors.items() if name.startswith("average.")}
    for name, value in saved.modules().state_dict().items():
        torch.testing.assert_close(value, kept[f"average.{name}"], atol=1e-3, rtol=1e-3)
    assert not list(run.glob("model.*"))


def test_a_damaged_checkpoint_is_passed_over(taken: Taken, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_of(taken, tmp_path / "run")
    trained(taken, run, images=24)
    assert sorted(path.name for path in run.glob("step-*")) == ["step-000000002", "step-000000003"]
    damaged = run / "step-000000003" / "tensors.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with caplog.at_level(logging.INFO):
        trained(taken, run, images=32)
    assert "resumed at step 2, after 16 images" in caplog.text
    assert newest(run).step == 4


def test_objects_with_other_words_are_refused_before_any_picture_is_taken(taken: Taken, tmp_path: Path) -> None:
    run = run_of(taken, tmp_path / "run")
    trained(taken, run, images=8)
    more = dataclasses.replace(taken.sources[0], entry=Entry("04-teapot.glb", "teapot"))
    pictures = sorted((run / "pictures").iterdir())
    with pytest.raises(ValueError, match="started with other objects"):
        train.train(dataclasses.replace(TINY, images=16), [*taken.sources, more], CPU, run)
    assert sorted((run / "pictures").iterdir()) == pictures
    trained(taken, run, images=16)  # and the run is as it was
    assert newest(run).facts["images"] == 16


def test_pictures_of_objects_that_are_not_asked_for_are_refused(taken: Taken, tmp_path: Path) -> None:
    run = run_of(taken, tmp_path / "run")
    with pytest.raises(UserError, match=r"pictures holds other objects.*remove it"):
        train.train(dataclasses.replace(TINY, images=8), taken.sources[:2], CPU, run)
    assert checkpoints.newest(run) is None


def test_a_model_to_start_from_is_looked_at_before_pictures_are_taken(taken: Taken, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        train.train(TINY, taken.sources, CPU, tmp_path / "run", start=tmp_path)
    assert not (tmp_path / "run").exists()


RUN = """
import sys
from pathlib import Path
import torch
from backend.prior import pool
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior
from backend.prior.network import Architecture
from backend.prior.train import Training, train
small = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)
sizes = dict(size=32, small=16, batch=8, pictures=8, checkpoint_every=8, sheet_every=10**9, architecture=small)
sources = pool.sources(Path(sys.argv[1]), with_solids=False)
train(Training(images=10**9, **sizes), sources, torch.device("cpu"), Path(sys.argv[2]))
"""


def test_a_killed_run_has_a_model_and_goes_on_where_it_was(taken: Taken, tmp_path: Path) -> None:
    run = tmp_path / "run"
    objects = tmp_path / "objects"
    shutil.copytree(taken.objects, objects)
    told = [{"file": source.entry.file, **_told(source.entry)} for source in taken.sources]
    (objects / "catalogue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    run_of(taken, run)
    process = subprocess.Popen([sys.executable, "-c", RUN, str(objects), str(run)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(run.glob("step-?????????"))) < 2:
        assert time.monotonic() < deadline, "no checkpoint within five minutes"
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert model.load(run / "model").size == 32
    killed = newest(run)
    trained(taken, run, images=killed.facts["images"] + 16)
    after = newest(run)
    assert after.step == killed.step + 2
    assert after.facts["images"] == killed.facts["images"] + 16


def _told(entry: Entry) -> dict[str, object]:
    fields = dataclasses.asdict(entry)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def test_a_model_is_put_in_place_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (network.build(32, WORDS, SMALL, seed) for seed in (1, 2))
    train.save_model(first, KNOWN, tmp_path)

    def full(prior: model.Prior, folder: Path) -> None:
        folder.mkdir()
        (folder / "model_index.json").write_text("{")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(model, "save", full)
        with pytest.raises(OSError, match="No space"):
            train.save_model(second, KNOWN, tmp_path)
    kept = model.load(tmp_path / "model").unet.conv_in.weight
    torch.testing.assert_close(kept, first.unet.conv_in.weight, atol=1e-3, rtol=0)
    train.save_model(second, KNOWN, tmp_path)
    kept = model.load(tmp_path / "model").unet.conv_in.weight
    torch.testing.assert_close(kept, second.unet.conv_in.weight, atol=1e-3, rtol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert words.of(tmp_path / "model") == KNOWN


def test_a_sheet_goes_through_the_catalogue_with_and_without_colours() -> None:
    entries = [Entry(f"{index}.glb", f"thing{index:02}") for index in range(90)] * 2
    prompts = train.sheet_prompts(entries, count=45)
    assert len(prompts) == 45
    assert prompts[:3] == ["a thing00", "a red thing02", "a thing04"]
    assert prompts == train.sheet_prompts(entries, count=45)


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(train.main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_a_folder_of_objects_becomes_a_model(taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(images: int, seed: int) -> Training:
        return dataclasses.replace(TINY, images=images, seed=seed)

    run = tmp_path / "run"
    monkeypatch.setattr(train, "Training", tiny)
    code, output = invoke("--objects", taken.objects, "--run", run, "--images", 16, "--no-solids")
    assert code == 0, output
    assert f"wrote {run / 'model'}" in output
    tokens = model.load(run / "model").tokenizer.get_vocab()
    assert {"box", "ball", "post"} <= set(tokens)
    assert "mushroom" not in tokens
    known = words.of(run / "model")
    assert isinstance(known, Lexicon)
    assert [noun.noun for noun in known.nouns] == ["ball", "post", "red box"]
    assert set(known.words) == {token for token in tokens if not token.startswith("[")}


def test_what_is_wrong_with_objects_or_models_is_one_line(taken: Taken, tmp_path: Path) -> None:
    empty, blocked = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    blocked.write_text("")
    for arguments, remedy in (
        (("--objects", empty, "--run", tmp_path / "run"), "put GLB files into it"),
        (("--objects", taken.objects, "--run", tmp_path / "run", "--start", empty), "name a trained model's folder"),
        (("--objects", taken.objects, "--run", tmp_path / "run", "--start", model.BUILTIN), "another network"),
        (("--objects", taken.objects, "--run", blocked / "run"), "file"),
    ):
        code, output = invoke(*arguments)
        assert code == 1
        assert remedy in output
        assert len([line for line in output.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--objects"),
        (["--objects", "{missing}", "--run", "{run}"], "does not exist"),
        (["--objects", "{objects}"], "--run"),
        (["--objects", "{objects}", "--run", "{run}", "--images", "0"], "--images"),
        (["--objects", "{objects}", "--run", "{run}", "--images", "many"], "--images"),
        (["--objects", "{objects}", "--run", "{run}", "--minutes", "3"], "--minutes"),
        (["--objects", "{objects}", "--run", "{run}", "--device", "tpu"], "--device"),
        (["--objects", "{objects}", "--run", "{run}", "--start", "{missing}"], "does not exist"),
        (["--objects", "{objects}", "--run", "{run}", "x"], "unexpected extra argument"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: list[str], named: str, taken: Taken, tmp_path: Path) -> None:
    places = {"missing": tmp_path / "missing", "objects": taken.objects, "run": tmp_path / "run"}
    code, output = invoke(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert named in output
    assert not (tmp_path / "run").exists()


def test_a_missing_gpu_is_named_before_anything_is_written(
    taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = tmp_path / "run"
    code, output = invoke("--objects", taken.objects, "--run", run, "--device", "cuda")
    assert code == 2
    assert "--device cpu" in output
    assert not run.exists()
