from backend.prior.materials import COLOURS, PATTERNS
from backend.prior.shapes import SHAPES
from backend.prior.solids import OBJECT_WORDS
from backend.prior.synonyms import COLOUR_WORDS, PATTERN_WORDS


def test_the_words_name_what_can_be_drawn_in_the_same_order() -> None:
    assert list(OBJECT_WORDS) == [shape.name for shape in SHAPES]
    assert list(COLOUR_WORDS) == list(COLOURS)
    assert list(PATTERN_WORDS) == list(PATTERNS)


def test_no_word_has_two_meanings() -> None:
    tables = (OBJECT_WORDS, COLOUR_WORDS, PATTERN_WORDS)
    words = [word for table in tables for synonyms in table.values() for word in synonyms]
    assert len(words) == len(set(words))
