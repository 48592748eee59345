from random import Random

import pytest

from backend.engine.cameras import VIEWS
from backend.prior.captions import (
    COLOUR_WORDS,
    PATTERN_WORDS,
    VIEW_PHRASES,
    Subject,
    all_words,
    caption,
    example_prompts,
    with_articles,
    words_of,
)
from backend.prior.shapes import SHAPES

BY_NAME = {shape.name: shape for shape in SHAPES}


def many(subject: Subject, view: str | None = None, count: int = 400) -> set[str]:
    random = Random(0)
    return {caption(BY_NAME[subject.shape], subject, view, random) for _ in range(count)}


def test_captions_vary_in_words_and_order() -> None:
    texts = many(Subject("mug", "red"), "above")
    assert {"a red mug, from above", "red cup, from above"} <= texts
    assert any(text.startswith("mug, red") for text in texts)
    assert len(texts) > 40


def test_a_caption_tells_object_colour_pattern_and_view_by_known_words() -> None:
    for text in many(Subject("hat", "gray", "spotted"), "back"):
        words = set(words_of(text))
        assert words & set(BY_NAME["hat"].names)
        assert words & set(COLOUR_WORDS["gray"])
        assert words & set(PATTERN_WORDS["spotted"])
        assert any(phrase in text for phrase in VIEW_PHRASES["back"])


def test_a_caption_without_colour_names_none() -> None:
    colours = {word for words in COLOUR_WORDS.values() for word in words}
    assert all(not colours & set(words_of(text)) for text in many(Subject("car")))


def test_every_word_of_every_caption_is_listed() -> None:
    known = set(all_words())
    for shape in SHAPES:
        for view in (None, *VIEWS):
            texts = many(Subject(shape.name, "orange", "striped"), view, count=60) | many(Subject(shape.name), view, 20)
            assert {word for text in texts for word in words_of(text)} <= known


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{article} orange hat", "an orange hat"), ("of {article} red hat", "of a red hat"), ("hat", "hat")],
)
def test_articles(text: str, expected: str) -> None:
    assert with_articles(text) == expected


def test_example_prompts_name_every_object_once() -> None:
    prompts = example_prompts()
    assert len(prompts) == len(SHAPES)
    assert all(shape.name in prompt for shape, prompt in zip(SHAPES, prompts, strict=True))
