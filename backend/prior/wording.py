"""Sentences for pictures of a catalogue's objects, and the words that they are made of. Nothing here imports torch."""

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from random import Random

from backend.prior.catalogue import Entry
from backend.prior.synonyms import COLOUR_WORDS, PATTERN_WORDS

_TEMPLATES = (
    "{article} {described}",
    "{article} {described}",
    "{article} {described}",
    "{described}",
    "the {described}",
    "a 3d model of {article} {described}",
    "a picture of {article} {described}",
    "a low poly {described}",
)
_LISTED = ("{article} {name} that is {listed}", "{name}, {listed}", "{article} {name} in {listed}")


def sentence(entry: Entry, colour: str | None, random: Random) -> str:
    """A caption for a picture of `entry`, painted in `colour`, or, without one, as it is."""
    if colour is None and entry.phrases and random.random() < 0.5:
        return random.choice(entry.phrases)
    name = entry.noun if not entry.synonyms or random.random() < 0.6 else random.choice(entry.synonyms)
    adjectives = [_usually_first(words, random) for words in _adjectives(entry, colour)]
    if adjectives and random.random() < 0.15:
        return random.choice(_LISTED).format(name=name, listed=" and ".join(adjectives), article=_article(name))
    described = " ".join([*random.sample(adjectives, len(adjectives)), name])
    return random.choice(_TEMPLATES).format(described=described, article=_article(described))


def asked_for(noun: str, colour: str | None) -> str:
    """A plain prompt for an object, in a colour or as it usually is."""
    described = f"{colour} {noun}" if colour else noun
    return f"{_article(described)} {described}"


def every_other(number: int, colours: Sequence[str]) -> str | None:
    """The colour that the prompt of this number asks for, going through all of them, or None."""
    return colours[number // 2 % len(colours)] if number % 2 else None


def _adjectives(entry: Entry, colour: str | None) -> list[tuple[str, ...]]:
    """For each thing to be said, the words for it."""
    found = [PATTERN_WORDS[entry.pattern]] if entry.pattern else []
    return [*found, COLOUR_WORDS[colour]] if colour else found


def _usually_first(words: tuple[str, ...], random: Random) -> str:
    return words[0] if random.random() < 0.7 else random.choice(words)


def _article(text: str) -> str:
    """By sound, as far as letters tell: an umbrella, a unicorn, a European flag."""
    return "an" if re.match(r"[aio]|e(?![uw])|u(?!ni|fo|s|t|ku|ri|-)|hour", text.lower()) else "a"


def all_words(entries: Iterable[Entry]) -> list[str]:
    """Every word and punctuation mark that a sentence can hold, sorted."""
    texts = {text for entry in entries for text in (*entry.names, *entry.phrases)}
    texts |= {re.sub(r"\{\w+\}", "an", text) for text in (*_TEMPLATES, *_LISTED, "a and")}
    texts |= {word for table in (COLOUR_WORDS, PATTERN_WORDS) for words in table.values() for word in words}
    return sorted({word for text in texts for word in words_of(text)})


def words_of(text: str) -> list[str]:
    """The words of a text as the tokenizer sees them: without accents, hyphens, apostrophes and capitals."""
    letters = (letter for letter in unicodedata.normalize("NFD", text) if unicodedata.category(letter)[0] != "M")
    plain = re.sub("['\u2019]", "", "".join(letters).lower()).replace("-", " ")
    return re.findall(r"\w+|[^\w\s]+", "".join(f" {sign} " if _stands_alone(sign) else sign for sign in plain))


def _stands_alone(sign: str) -> bool:
    """Punctuation does; other signs, such as emoji, make up words of their own."""
    return sign in string.punctuation or unicodedata.category(sign)[0] == "P"


_NUMBERS = (
    ("men", "man"),
    ("children", "child"),
    ("people", "person"),
    ("mice", "mouse"),
    ("geese", "goose"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("ies", "y"),
    ("ves", "f"),
    ("ves", "fe"),
    ("es", ""),
    ("s", ""),
)
"""Endings of plurals, and what they have in the singular."""


def forms(word: str) -> tuple[str, ...]:
    """The word and what may be its other number, singular before plural; some of it is no word."""
    single = [word.removesuffix(many) + one for many, one in _NUMBERS if word.endswith(many)]
    plural = [word.removesuffix(one) + many for many, one in _NUMBERS if word.endswith(one)]
    return word, *single, *plural
