from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from backend.prior import model, sample
from backend.prior.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model on disk."""
    path = tmp_path_factory.mktemp("model")
    model.save(model.build(32), path)
    Vocabulary().save(path)
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
    images = sample.sample(prior, ["a red mug"], torch.Generator().manual_seed(0), steps=1, cfg=1.0)
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        v = prior.unet(noise, 999, prior.encode(["a red mug"])).sample
    abar = prior.scheduler.alphas_cumprod[999]
    clean = (abar.sqrt() * noise - (1 - abar).sqrt() * v).clamp(-1, 1)
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


def test_an_unwritable_place_is_named(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, output = invoke(folder, "a red mug", "--n", "1", "--out", str(blocked / "x.png"))
    assert code == 2
    assert "cannot write" in output


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    code, output = invoke(tmp_path, "a red mug", "--out", str(tmp_path / "x.png"))
    assert code == 2
    assert "holds no model" in output
