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
from backend.errors import UserError
from backend.guidance import folders
from backend.prior import model, network, train, words
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from backend.prior.training import Training

from .conftest import Taken
from .tiny import CPU, SMALL, TINY, WORDS

KNOWN = Lexicon.of([Entry("0", "mug")])


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
    assert folders.takes_views(run / "model")
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
from backend.prior.train import train
from backend.prior.training import Training
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
    train.save_model(network.build(32, WORDS, SMALL, seed=1), KNOWN, tmp_path)
    for arguments, remedy in (
        (("--objects", empty, "--run", tmp_path / "run"), "put GLB files into it"),
        (("--objects", taken.objects, "--run", tmp_path / "run", "--start", empty), "name a trained model's folder"),
        (("--objects", taken.objects, "--run", tmp_path / "run", "--start", tmp_path / "model"), "another network"),
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
