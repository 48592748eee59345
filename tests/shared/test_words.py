import json

import pytest

from shared.errors import ProtocolError
from shared.limits import JSON_DEPTH, KNOWN_WORDS, NAME_CHARACTERS
from shared.words import Words

KNOWN = Words(("pirate ship", "pig"), ("red", "wooden"), ("sails", "größe"))


def test_words_survive_the_wire() -> None:
    assert Words.unpack(KNOWN.pack()) == KNOWN


def test_as_many_words_as_the_limit_are_taken_and_no_more() -> None:
    most = ("x",) * KNOWN_WORDS
    assert Words.unpack(Words(most, most, most).pack()).names == most
    with pytest.raises(ValueError, match="names"):
        Words((*most, "x"), (), ())


@pytest.mark.parametrize("word", ["", "two\nlines", "x" * (NAME_CHARACTERS + 1), 7, None])
def test_what_is_no_word_is_refused(word: object) -> None:
    content = json.dumps({"names": [word], "adjectives": [], "others": []}).encode()
    with pytest.raises(ProtocolError, match="these are no words"):
        Words.unpack(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"names": [], "adjectives": [], "others": [], "more": []}',
        b'{"names": [], "names": [], "adjectives": [], "others": []}',
        b"[" * 10_000,
        b'{"names": ' + b"[" * (JSON_DEPTH + 1) + b"]" * (JSON_DEPTH + 1) + b', "adjectives": [], "others": []}',
        b'{"names": ["half \\ud800"], "adjectives": [], "others": []}',
    ],
)
def test_anything_else_is_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        Words.unpack(content)
