import copy
import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from backend.engine.cameras import ring
from backend.engine.shading import Lights
from backend.guidance.views import Views, shown
from backend.prior import model, network, sample
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from backend.prior.network import Architecture

SMALL = Architecture(channels=(16, 32, 32), heads=2, text_width=32, text_layers=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model on disk."""
    path = tmp_path_factory.mktemp("model")
    lexicon = Lexicon.of([Entry("0", "mug", ("cup",))])
    model.save(network.build(32, lexicon.words, SMALL, seed=0), path)
    lexicon.save(path)
    return path


def test_samples_are_images_that_the_seed_alone_decides(folder: Path) -> None:
    prior = model.load(folder)
    first, again, other = (
        sample.sample(prior, ["a red mug"] * 3, torch.Generator().manual_seed(seed), steps=2) for seed in (1, 1, 2)
    )
    assert first.shape == (3, 3, 32, 32)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_guidance_of_one_is_the_plain_conditional_model(folder: Path) -> None:
    prior = model.load(folder)
    front = Views.unlit(ring(1, 10))
    images = sample.sample(prior, ["a red mug"], torch.Generator().manual_seed(0), steps=1, cfg=1.0, views=front)
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    folded = torch.nn.functional.pixel_unshuffle(noise, 2)
    with torch.no_grad():
        seen = shown(folded, front.features, 18)
        v = prior.unet(seen, 999, prior.encode(["a red mug"]), class_labels=front.features).sample
    abar = prior.scheduler.alphas_cumprod[999]
    clean = torch.nn.functional.pixel_shuffle(abar.sqrt() * folded - (1 - abar).sqrt() * v, 2).clamp(-1, 1)
    # One step ends at t = 0 of the schedule, where a trace of noise is left; and bf16 rounds.
    assert (images - (clean + 1) / 2).abs().mean() < 0.02


def invoke(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(sample.main, [*arguments, "--model", str(folder), "--steps", "1"])
    return result.exit_code, result.output


def test_the_command_writes_a_sheet(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "mugs.png"
    code, output = invoke(folder, "a shiny red mug", "--n", "3", "--out", str(out))
    assert code == 0
    assert "'shiny'" in output
    with Image.open(out) as image:
        assert image.size == (3 * 32 * 3, 32 * 3)


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["a red mugg"], "mug"),
        ([""], "a red mug"),
        (["a red mug " * 100], "shorten"),
        ([], "--everything"),
        (["a red mug", "--everything"], "--everything"),
        (["a red mug", "--n", "0"], "1<=x<=512"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(arguments: list[str], remedy: str, folder: Path, tmp_path: Path) -> None:
    code, output = invoke(folder, *arguments, "--out", str(tmp_path / "x.png"))
    assert code == 2
    assert remedy in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def animals(folder: Path, tmp_path: Path) -> Path:
    """The same model with the words of a catalogue."""
    other = Path(shutil.copytree(folder, tmp_path / "animals"))
    Lexicon.of([Entry("0", "cat", ("pet",)), Entry("1", "fox")]).save(other)
    return other


def test_a_model_of_a_catalogue_is_told_its_own_words(
    animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    drawn = sample.sample
    monkeypatch.setattr(
        sample, "sample", lambda prior, prompts, *given: told.append(prompts) or drawn(prior, prompts, *given)
    )
    code, output = invoke(animals, "Two shiny Cats", "--n", "2", "--out", str(tmp_path / "cats.png"))
    assert code == 0, output
    assert "'shiny'" in output
    assert invoke(animals, "--everything", "--out", str(tmp_path / "all.png"))[0] == 0
    assert told == [["two shiny cat"] * 2, ["a red cat"] * 2 + ["an orange fox"] * 2]


def test_an_unwritable_place_is_named(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, output = invoke(folder, "a red mug", "--n", "1", "--out", str(blocked / "x.png"))
    assert code == 2
    assert "cannot write" in output


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    code, output = invoke(tmp_path, "a red mug", "--out", str(tmp_path / "x.png"))
    assert code == 2
    assert "holds no diffusers model" in output


def test_a_model_without_words_of_its_own_is_refused(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "lexicon.json").unlink()
    code, output = invoke(other, "a red mug", "--out", str(tmp_path / "x.png"))
    assert code == 2
    assert "was not trained here; leave --model out" in output
    (other / "vocabulary.json").write_text("{}")
    code, output = invoke(other, "a red mug", "--out", str(tmp_path / "x.png"))
    assert code == 2
    assert "python -m backend.prior.train" in output


@pytest.fixture(scope="module")
def told() -> model.Prior:
    """An untrained model that is told how each picture is taken."""
    prior = network.build(32, ["a", "mug", "red"], SMALL, seed=0)
    prior.modules().eval().requires_grad_(False)
    return prior


def drawn(prior: model.Prior, seed: int = 1, batch: int = 64, views: Views | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return sample.sample(prior, ["a red mug"] * 3, generator, steps=2, batch=batch, views=views)


def test_views_that_nobody_asks_for_are_random_ones_that_the_seed_decides(told: model.Prior) -> None:
    first, again, other = (drawn(told, seed) for seed in (1, 1, 2))
    assert first.shape == (3, 3, 32, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_picture_is_drawn_from_the_view_that_is_asked_for(told: model.Prior) -> None:
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0]] * 3), torch.ones(3))
    front = Views(ring(3, 10), lights)
    turned = Views(dataclasses.replace(front.cameras, azimuth=front.cameras.azimuth + torch.tensor([0, 1, 0])), lights)
    first, second = drawn(told, views=front), drawn(told, views=turned)
    changed = (first - second).abs().amax((1, 2, 3))
    assert changed[1] > 1e-4
    assert changed[[0, 2]].max() < changed[1] / 10


def test_views_stay_with_their_prompts_when_a_batch_is_split(told: model.Prior) -> None:
    whole, split = (drawn(told, batch=batch) for batch in (64, 2))
    assert (whole - split).abs().max() < 0.05  # bf16 rounds as its batch is laid out


def test_a_folded_picture_is_unfolded_in_place(told: model.Prior) -> None:
    # With nothing predicted, the picture is the noise itself, scaled: every pixel where it was.
    plain = copy.deepcopy(told)
    for parameter in plain.unet.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    generator = torch.Generator().manual_seed(3)
    image = sample.sample(plain, ["a red mug"], generator, steps=1)
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    inside = (image > 0) & (image < 1)
    assert torch.corrcoef(torch.stack([image[inside], noise[inside]]))[0, 1] > 0.999
