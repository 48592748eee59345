"""Words on their way to clients."""

import hashlib
import logging
from pathlib import Path

import pytest

from backend.guidance.library import ModelSource
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon
from backend.service import wordlists
from backend.service.offer import offer
from shared.jobs import new_job_id
from shared.limits import HEADER_BYTES, KNOWN_WORDS, WORDS_BYTES
from shared.messages import Welcome, encode
from shared.words import Words


def taught(folder: Path, nouns: int, length: int = 12) -> Path:
    """A folder with the words of a model that was taught so many nouns, each with three other names, and no weights."""
    (folder / "unet").mkdir(parents=True, exist_ok=True)
    (folder / "unet" / "config.json").write_text("{}")
    names = [f"{number:0{length}}" for number in range(nouns)]
    Lexicon.of(Entry(name, name, (f"a{name}", f"b{name}", f"c{name}")) for name in names).save(folder)
    return folder


def test_a_list_holds_all_that_the_model_knows(tmp_path: Path) -> None:
    Lexicon.of([Entry("0", "cat", ("kitty",), ("a wooden cat with long legs",), pattern="striped")]).save(tmp_path)
    found = wordlists.of(tmp_path)
    assert found
    assert (found.asset.sha256, found.asset.size) == (hashlib.sha256(found.content).hexdigest(), len(found.content))
    words = Words.unpack(found.content)
    assert words.names == ("cat", "kitty")
    assert {"red", "grey", "striped", "wooden"} < set(words.adjectives)
    assert words.others == ("legs", "long", "low", "model", "picture", "poly")


def test_a_model_without_words_has_no_list(tmp_path: Path) -> None:
    assert wordlists.of(tmp_path) is None


def test_a_list_is_made_once(tmp_path: Path) -> None:
    assert wordlists.of(taught(tmp_path, 3)) is wordlists.of(tmp_path)


def test_a_welcome_stays_as_small_however_many_words_there_are(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    sizes = []
    for folder, nouns in ((few, 1), (many, 4_000)):
        folder.mkdir()
        model = ModelSource("mine", "mine", taught(folder, nouns), "c" * 40, "mit", 5)
        offered = offer([model], "cpu", lambda model, name, chosen: None, {})
        assert offered.models[0].words
        welcome = Welcome("there", "1", new_job_id(), 1.0, (), (), offered)
        sizes.append(sum(map(len, encode(welcome, 1))))
    assert sizes[1] - sizes[0] < 10 < sum(sizes) < HEADER_BYTES


@pytest.mark.parametrize(("nouns", "length"), [(KNOWN_WORDS // 4 + 1, 1), (4_000, WORDS_BYTES // 16_000)])
def test_a_model_with_more_words_than_clients_take_is_offered_without(
    nouns: int, length: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ModelSource("mine", "mine", taught(tmp_path, nouns, length), "c" * 40, "mit", 5)
    with caplog.at_level(logging.WARNING):
        (offered,) = offer([model], "cpu", lambda model, name, chosen: None, {}).models
    assert offered.words is None
    assert offered.presets[0].steps < 1000, "it is still a small model"
    assert "are not offered" in caplog.text
