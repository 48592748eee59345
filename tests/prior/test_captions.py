from random import Random

import pytest

from backend.engine.names import VIEWS
from backend.prior.captions import (
    COLOUR_WORDS,
    OBJECT_WORDS,
    PATTERN_WORDS,
    VIEW_PHRASES,
    Subject,
    all_words,
    caption,
    example_prompts,
    with_articles,
    words_of,
)
from backend.prior.materials import COLOURS, PATTERNS
from backend.prior.shapes import SHAPES


def many(subject: Subject, view: str | None = None, count: int = 400) -> set[str]:
    random = Random(0)
    return {caption(subject, view, random) for _ in range(count)}


def test_the_words_name_what_can_be_drawn_in_the_same_order() -> None:
    assert list(OBJECT_WORDS) == [shape.name for shape in SHAPES]
    assert list(COLOUR_WORDS) == list(COLOURS)
    assert list(PATTERN_WORDS) == list(PATTERNS)


def test_no_word_has_two_meanings() -> None:
    tables = (OBJECT_WORDS, COLOUR_WORDS, PATTERN_WORDS)
    words = [word for table in tables for synonyms in table.values() for word in synonyms]
    assert len(words) == len(set(words))


def test_captions_vary_in_words_and_order() -> None:
    texts = many(Subject("mug", "red"), "above")
    assert {"a red mug, from above", "red cup, from above"} <= texts
    assert any(text.startswith("mug, red") for text in texts)
    assert len(texts) > 40


def test_a_caption_tells_object_colour_pattern_and_view_by_known_words() -> None:
    for text in many(Subject("hat", "gray", "spotted"), "back"):
        words = set(words_of(text))
        assert words & set(OBJECT_WORDS["hat"])
        assert words & set(COLOUR_WORDS["gray"])
        assert words & set(PATTERN_WORDS["spotted"])
        assert any(phrase in text for phrase in VIEW_PHRASES["back"])


def test_a_caption_without_colour_names_none() -> None:
    colours = {word for words in COLOUR_WORDS.values() for word in words}
    assert all(not colours & set(words_of(text)) for text in many(Subject("car")))


def test_every_word_of_every_caption_is_listed() -> None:
    known = set(all_words())
    for name in OBJECT_WORDS:
        for view in (None, *VIEWS):
            texts = many(Subject(name, "orange", "striped"), view, count=60) | many(Subject(name), view, 20)
            assert {word for text in texts for word in words_of(text)} <= known


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{article} orange hat", "an orange hat"), ("of {article} red hat", "of a red hat"), ("hat", "hat")],
)
def test_articles(text: str, expected: str) -> None:
    assert with_articles(text) == expected


def test_example_prompts_name_every_object_once() -> None:
    prompts = example_prompts()
    assert all(name in prompt for name, prompt in zip(OBJECT_WORDS, prompts, strict=True))
