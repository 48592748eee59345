"""Requests are checked in full through `planned` (test_job); here: what the server relies on besides."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.guidance.library import ModelSource, builtin
from backend.pipeline.request import RANGES, Request, check, check_values
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from shared.limits import PROMPT_CHARACTERS

MUG = Request("a red mug")


def test_every_number_has_a_range_with_both_ends_inside() -> None:
    numbers = {field.name for field in fields(Request) if field.type in (int, int | None, float | None)}
    assert numbers == set(RANGES)
    asked = replace(MUG, start=Path("mesh.glb"))  # a strength means nothing without
    for name, (least, most) in RANGES.items():
        for value in (least, most):
            check_values(replace(asked, **{name: value}))
        for value in (least - 1, most + 1):
            with pytest.raises(UserError, match=f"{name} is"):
                check_values(replace(asked, **{name: value}))


def test_the_longest_prompt_is_no_longer_than_what_can_be_sent() -> None:
    check_values(Request("x" * PROMPT_CHARACTERS))
    with pytest.raises(UserError, match="shorten"):
        check_values(Request("x" * (PROMPT_CHARACTERS + 1)))


def test_a_model_without_a_vocabulary_takes_any_words(tmp_path: Path) -> None:
    large = ModelSource("owner/name", "owner/name", tmp_path, "c" * 40, "mit", 5)
    assert check(Request("a shiny dragon", negative="blurry"), large) == []
    with pytest.raises(UserError, match="owner/name works on pixels"):
        check(replace(MUG, latent_field=True), large)
    (tmp_path / "vae").mkdir()
    assert check(replace(MUG, latent_field=True), large) == []


def test_a_model_with_a_lexicon_is_asked_in_its_words(tmp_path: Path) -> None:
    Lexicon.of([Entry("0", "cat", ("animal",)), Entry("1", "lion"), Entry("2", "sofa")]).save(tmp_path)
    model = ModelSource("mine", "mine", tmp_path, "c" * 40, "mit", 5)
    assert check(Request("two red cats"), model) == []
    assert check(Request("a shiny Lion", negative="blurry cats"), model) == [
        "the model does not know 'shiny': no effect on the result",
        "the negative prompt's 'blurry' will have no effect",
    ]
    with pytest.raises(UserError, match='no object in "a puma"; try one of: cat, lion, sofa'):
        check(Request("a puma"), model)
    with pytest.raises(UserError, match="was taught no words for good and bad pictures"):
        check(Request("a cat", rule="bridge"), model)


def test_values_are_checked_with_the_model() -> None:
    with pytest.raises(UserError, match="steps is 0"):
        check(replace(MUG, steps=0), builtin())
