"""What artists type and paste."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs import Generation
from shared.prompts import control_character, is_unicode, tidied


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cشود",  # Persian, with a non-joiner
        "क्\u200dष",  # Hindi, with a joiner
        "a \U0001f469\U0001f3fd\u200d\U0001f680 figurine",  # a woman, her skin and a rocket: an astronaut
        "a \u2764\ufe0f\u200d\U0001f525 cushion",
        "a 1\ufe0f\u20e3 candle",
        "\u845b\U000e0100",  # which of the ways to write this name
        "a \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f mug",  # England's flag
        "\u06dd\u0601",  # of the category of invisible ones, but visible
    ],
)
def test_joiners_and_variation_selectors_are_text(text: str) -> None:
    assert tidied(text) == text
    assert Generation(text).prompt == text


@pytest.mark.parametrize(
    "character",
    ["\u200b", "\ufeff", "\u00ad", "\u200e", "\u202e", "\u2066", "\u2060", "\u2063", "\u3164", "\u034f", "\U000e0041"],
)
def test_other_invisible_characters_are_dropped(character: str) -> None:
    assert tidied(f"{character}a r{character}ed mug{character}") == "a red mug"


def test_white_space_of_every_kind_is_one_space() -> None:
    assert tidied("\u2003a\r\nred\u00a0\t mug\u2028\u200b ") == "a red mug"


@given(st.text())
def test_what_is_tidy_stays_as_it_is(text: str) -> None:
    once = tidied(text)
    assert tidied(once) == once
    assert not any(unicodedata.category(letter) in {"Zl", "Zp"} for letter in once)


def test_a_request_is_tidy_before_its_length_counts() -> None:
    request = Generation("\u200b a  mug " + "\ufeff" * 300, negative=" dull\n")
    assert (request.prompt, request.negative) == ("a mug", "dull")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a mug", ""),
        ("一个红杯子 🫨 \ue000", ""),
        ("a\x07mug", "U+0007 (BELL)"),
        ("\x1b[0ma", "U+001B (ESCAPE)"),
        ("a\x7f\x00", "U+007F (DELETE)"),
        ("\x9b", "U+009B (no name)"),
    ],
)
def test_the_first_control_character_is_named(text: str, named: str) -> None:
    assert control_character(text) == named


def test_halves_of_surrogate_pairs_are_no_unicode() -> None:
    assert is_unicode("日本 \U0001f469")
    assert not is_unicode("\udce6\udc97")
