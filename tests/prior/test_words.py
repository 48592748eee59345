"""The words of a model's folder."""

import os
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.guidance import folders, library
from backend.prior import words
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon

CATS = Lexicon.of([Entry("0", "cat", ("kitty",), ("a small cat with stripes",))])
DOGS = Lexicon.of([Entry("0", "dog")])


def test_a_folder_without_words_is_one_of_a_model_that_knows_more(tmp_path: Path) -> None:
    assert words.of(tmp_path) is None
    assert words.of(tmp_path / "missing") is None


def test_words_are_read_again_only_when_they_have_changed(tmp_path: Path) -> None:
    CATS.save(tmp_path)
    first = words.of(tmp_path)
    assert words.of(tmp_path) is first
    DOGS.save(tmp_path)
    os.utime(tmp_path / folders.WORDS, ns=(1, 1))
    assert words.of(tmp_path) == DOGS


def test_damaged_words_are_named_each_time(tmp_path: Path) -> None:
    (tmp_path / "lexicon.json").write_text("{")
    for _ in range(2):
        with pytest.raises(UserError, match=r"lexicon\.json is damaged"):
            words.of(tmp_path)


def test_the_built_in_model_is_told_what_was_typed_in_its_words() -> None:
    known = words.of(library.builtin().folder)
    assert known
    assert known.told("Two glittering mugs") == "two glittering mug"
    assert known.knows("a glittering mug").warning == ("the model does not know 'glittering': no effect on the result")
