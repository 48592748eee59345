"""The words of a model's folder, whichever way it keeps them."""

import os
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.guidance import folders, library
from backend.prior import words
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from backend.prior.vocabulary import Vocabulary

CATS = Lexicon.of([Entry("0", "cat", ("kitty",), ("a small cat with stripes",))])
DOGS = Lexicon.of([Entry("0", "dog")])


def test_a_folder_without_words_is_one_of_a_model_that_knows_more(tmp_path: Path) -> None:
    assert words.of(tmp_path) is None
    assert words.of(tmp_path / "missing") is None


def test_a_lexicon_comes_before_an_older_vocabulary(tmp_path: Path) -> None:
    Vocabulary().save(tmp_path)
    assert words.of(tmp_path) == Vocabulary()
    CATS.save(tmp_path)
    assert words.of(tmp_path) == CATS


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


def test_the_built_in_model_is_told_what_was_typed() -> None:
    known = words.of(library.builtin().folder)
    assert known
    assert known.told("Two shiny mugs") == "Two shiny mugs"
    assert known.knows("a shiny mug").warning == "the model does not know 'shiny': no effect on the result"


def test_a_vocabulary_is_listed_with_its_synonyms() -> None:
    listing = Vocabulary(objects=("mug", "hat"), colours=("red", "gray"), patterns=("striped",)).listing
    assert listing.objects == {"objects": (("mug", "cup"), ("hat",))}
    assert listing.names == ("mug", "cup", "hat")
    assert (listing.colours, listing.patterns) == (("red", "gray", "grey"), ("striped", "stripy"))
    assert (listing.materials, listing.others) == ((), ())
