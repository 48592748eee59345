import re
from random import Random

import pytest

from backend.prior import network
from backend.prior.catalogue import Entry
from backend.prior.synonyms import COLOUR_WORDS, PATTERN_WORDS
from backend.prior.wording import all_words, sentence, words_of

SMALLEST = network.Architecture(channels=(16, 16), heads=2, text_width=16, text_layers=1)
ENTRIES = (
    Entry("1.glb", "umbrella", ("shade", "parasol"), ("a big umbrella", "an open umbrella, handle down")),
    Entry("2.glb", "jack-o'-lantern", ("carved pumpkin",), ("a grinning pumpkin's head",)),
    Entry("3.glb", "Étagère"),
    Entry("4.glb", "hat", pattern="striped"),
    Entry("5.glb", '"odd" (chair)', ("4x4",)),
    Entry("6.glb", "unicorn"),
)


def sentences(entry: Entry, colour: str | None = None, count: int = 400) -> set[str]:
    random = Random(0)
    return {sentence(entry, colour, random) for _ in range(count)}


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.noun for entry in ENTRIES])
def test_every_word_of_every_sentence_is_listed(entry: Entry) -> None:
    listed = set(all_words(ENTRIES))
    for colour in (None, *COLOUR_WORDS):
        for text in sentences(entry, colour, 60):
            assert set(words_of(text)) <= listed, text
            assert "{" not in text


def test_words_are_listed_once_and_in_order() -> None:
    words = all_words(ENTRIES)
    assert words == sorted(set(words))
    assert {"jack", "o", "lantern", "etagere", "a", "an", "and", "the", "(", '"', "teal", "chequered"} <= set(words)


def test_a_colour_is_named_by_one_of_its_words_in_every_sentence() -> None:
    texts = sentences(ENTRIES[0], "turquoise")
    found = [word for text in texts for word in COLOUR_WORDS["turquoise"] if word in words_of(text)]
    assert len(found) == len(texts)
    assert set(found) == set(COLOUR_WORDS["turquoise"])
    others = {word for name, words in COLOUR_WORDS.items() if name != "turquoise" for word in words}
    assert not any(others & set(words_of(text)) for text in texts)


def test_a_pattern_is_named_with_and_without_a_colour() -> None:
    for colour in (None, "red"):
        texts = sentences(ENTRIES[3], colour)
        found = {word for text in texts for word in PATTERN_WORDS["striped"] if word in words_of(text)}
        assert found == set(PATTERN_WORDS["striped"])
        assert all(set(PATTERN_WORDS["striped"]) & set(words_of(text)) for text in texts)
    assert any(re.search(r"strip(ed|y) red hat", text) for text in texts)
    assert any(re.search(r"red strip(ed|y) hat", text) for text in texts)


def test_phrases_are_for_objects_as_they_are() -> None:
    phrases = set(ENTRIES[0].phrases)
    assert phrases <= sentences(ENTRIES[0])
    assert not phrases & sentences(ENTRIES[0], "red")


def test_an_object_goes_by_all_its_names() -> None:
    texts = sentences(ENTRIES[0], "red")
    for name in ENTRIES[0].names:
        assert any(name in text for text in texts)


@pytest.mark.parametrize(
    ("noun", "article"),
    [
        ("umbrella", "an"),
        ("apple", "an"),
        ("urn", "an"),
        ("hourglass", "an"),
        ("mug", "a"),
        ("unicorn", "a"),
        ("ufo", "a"),
        ("u-shaped staircase", "a"),
        ("utility trailer", "a"),
        ("European union flag", "a"),
        ('"odd" chair', "a"),
    ],
)
def test_articles_go_by_sound(noun: str, article: str) -> None:
    other = "a" if article == "an" else "an"
    texts = sentences(Entry("x.glb", noun))
    assert f"{article} {noun}" in texts
    assert not any(re.search(rf"\b{other} {re.escape(noun)}", text) for text in texts)


def test_an_article_goes_by_the_adjective_before_the_noun() -> None:
    texts = sentences(Entry("x.glb", "mug"), "orange")
    assert "an orange mug" in texts
    assert "a mug in orange" in texts


def test_sentences_are_drawn_from_their_source_alone() -> None:
    first, again = ([sentence(e, "red", Random(7)) for e in ENTRIES] for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    "text",
    [
        "A Red MUG",
        "café, étagère & naïve Ångström",
        "jack-o'-lantern",
        "jack\u2011o\u2019\u2010lantern\u2014here",
        "chef's  knife\tand\nfork",
        "a_b 4x4 mp3-dock 20 euro",
        "mug!!... (really?) \u201cyes\u201d [no] {x} <y> $5 ~ a+b=c `d` ^",
        "\U0001f525\U0001f525 mug\u2764\ufe0fmug \u2603",
        "cafe\u0301",
        "\u0939\u093f\u0902\u0926\u0940 \u6905\u5b50 \u0441\u0442\u0443\u043b",
        "\u05db\u05bc\u05b4\u05e1\u05bc\u05b5\u05d0",
        "",
        " \u00a0 ",
    ],
)
def test_words_are_those_that_the_tokenizer_sees(text: str) -> None:
    words = words_of(text)
    tokenizer = network.build(32, sorted(set(words)), SMALLEST, seed=0).tokenizer
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)
    assert tokens == words
