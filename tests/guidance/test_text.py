import logging

import pytest
import torch

from backend.guidance.diffusion import DiffusionGuidance


@pytest.mark.parametrize(("kind", "shape"), [("sd1", (24, 16)), ("if", (77, 12)), ("prior", (20, 128))])
def test_every_prompt_has_the_models_length(
    kind: str, shape: tuple[int, int], guidances: dict[str, DiffusionGuidance]
) -> None:
    found = guidances[kind].encode(["", "a mug", "a red mug " * 40])
    assert found.shape == (3, *shape)
    assert found.dtype == torch.float32
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("kind", ["sd1", "if", "prior"])
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
    # The prior takes 18 words between its begin and end marks.
    eighteen = " ".join(["red"] * 17 + ["mug"])
    with caplog.at_level(logging.WARNING):
        fits = guidances["prior"].encode([eighteen])
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        cut = guidances["prior"].encode([f"{eighteen} blue bowl"])
    assert '"blue bowl"' in caplog.text
    assert torch.equal(fits, cut)


def test_a_prompts_embedding_does_not_depend_on_its_neighbours(guidances: dict[str, DiffusionGuidance]) -> None:
    for kind in ("sd1", "if", "prior"):
        encode = guidances[kind].encode
        together = encode(["a mug", "a red car, side view"])
        torch.testing.assert_close(together[:1], encode(["a mug"]), atol=1e-5, rtol=1e-5)
