import json
import logging
import shutil
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.guidance.text import parted


@pytest.mark.parametrize(
    ("kind", "shape"), [("sd1", (24, 16)), ("sdxl", (25, 32)), ("if", (77, 12)), ("prior", (24, 16))]
)
def test_every_prompt_has_the_models_length(
    kind: str, shape: tuple[int, int], guidances: dict[str, DiffusionGuidance]
) -> None:
    found = guidances[kind].encode(["", "a mug", "a red mug " * 40])
    assert found.shape == (3, *shape)
    assert found.dtype == torch.float32
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "if", "prior"])
def test_the_words_that_are_cut_are_named(
    kind: str, guidances: dict[str, DiffusionGuidance], caplog: pytest.LogCaptureFixture
) -> None:
    guidance = guidances[kind]
    with caplog.at_level(logging.WARNING):
        guidance.encode(["a red mug", "", "red " * 3])
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        guidance.encode(["red " * 90 + "mug"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert "too long" in line
    assert line.rstrip('"').replace(" ", "").endswith("redmug")
    assert line.count("r") < 90


def test_the_first_cut_word_is_the_first_that_makes_no_difference(
    guidances: dict[str, DiffusionGuidance], caplog: pytest.LogCaptureFixture
) -> None:
    # The prior takes 22 words between its begin and end marks.
    as_many = " ".join(["red"] * 21 + ["mug"])
    with caplog.at_level(logging.WARNING):
        fits = guidances["prior"].encode([as_many])
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        cut = guidances["prior"].encode([f"{as_many} blue bowl"])
    assert '"blue bowl"' in caplog.text
    assert torch.equal(fits, cut)


def test_a_prompts_embedding_does_not_depend_on_its_neighbours(guidances: dict[str, DiffusionGuidance]) -> None:
    for kind in ("sd1", "if", "prior"):
        encode = guidances[kind].encode
        together = encode(["a mug", "a red car, side view"])
        torch.testing.assert_close(together[:1], encode(["a mug"]), atol=1e-5, rtol=1e-5)


@dataclass(frozen=True)
class Wrapped:
    """A tokenizer that is called through a function."""

    tokenizer: Any
    call: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, texts: Any, **options: Any) -> Any:
        return self.call(texts, **options)


LONG = "a red mug on a table " * 30
VIEWS = [", front view", ", side view", ", back view", ", overhead view"]


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "if", "prior"])
def test_the_words_of_the_view_survive_a_long_prompt(
    kind: str, guidances: dict[str, DiffusionGuidance], caplog: pytest.LogCaptureFixture
) -> None:
    text = guidances[kind]._parts.text
    encoded: list[str] = []
    tokenizer = text._tokenizer

    def remember(texts: Any, **options: Any) -> Any:
        found = tokenizer(texts, **options)
        if "padding" in options:
            encoded.extend(tokenizer.batch_decode(found.input_ids, skip_special_tokens=True))
        return found

    with pytest.MonkeyPatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(text, "_tokenizer", Wrapped(tokenizer, remember))
        found = guidances[kind].encode([LONG] * 4, VIEWS)
    assert found.shape[1] == text.tokens + (kind == "sdxl")
    apart = [(first - second).abs().max() for first, second in combinations(found, 2)]
    assert min(apart) > 1e-3
    plain = [words.replace(" ", "") for words in encoded]
    assert [words.endswith(view.replace(" ", "")) for words, view in zip(plain, VIEWS, strict=True)] == [True] * 4
    kept = {words.removesuffix(view.replace(" ", "")) for words, view in zip(plain, VIEWS, strict=True)}
    assert len(kept) == 1  # what is left of the prompt is the same from all sides
    assert kept.pop().startswith("ared")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith('on a table"')


def test_a_prompt_of_one_endless_word_leaves_room_as_well(guidances: dict[str, DiffusionGuidance]) -> None:
    front, side = guidances["sd1"].encode(["mug" * 90] * 2, VIEWS[:2])
    assert (front - side).abs().max() > 1e-3


def test_a_prompt_that_fits_is_encoded_with_its_ending_as_one_text(guidances: dict[str, DiffusionGuidance]) -> None:
    for kind in ("sd1", "if", "prior"):
        parts = guidances[kind].encode(["a red mug", "a car", ""], [", back view", "", ""])
        assert torch.equal(parts, guidances[kind].encode(["a red mug, back view", "a car", ""]))


def test_the_unconditional_embedding_of_xl_is_zeros_unless_its_folder_says_otherwise(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["sdxl"], tmp_path / "xl"))
    index = json.loads((folder / "model_index.json").read_text())
    assert index["force_zeros_for_empty_prompt"]
    (folder / "model_index.json").write_text(json.dumps(index | {"force_zeros_for_empty_prompt": False}))
    zeros, words = (
        load(each, torch.device("cpu"), "fp32").encode(["", "a mug", ""]) for each in (folders["sdxl"], folder)
    )
    assert not zeros[[0, 2]].any()
    assert words[[0, 2]].abs().amax((1, 2)).min() > 0.1
    assert torch.equal(zeros[1], words[1])


def test_the_summary_of_xl_is_mixed_with_its_words(guidances: dict[str, DiffusionGuidance]) -> None:
    front, back = guidances["sdxl"].encode(["a mug, front view", "a mug, back view"]).split(1)
    words, summary = parted((front + back) / 2, 8)
    assert (words.shape, summary.shape) == ((1, 24, 32), (1, 8))
    torch.testing.assert_close(summary, (parted(front, 8)[1] + parted(back, 8)[1]) / 2)
    assert summary.abs().min() > 0
