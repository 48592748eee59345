"""What a prompt could go on with, out of the words that a model knows."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from itertools import islice

from ..shared.limits import PROMPT_CHARACTERS
from ..shared.words import Words

SUGGESTIONS = 20
"""Prompts that are suggested at once. Blender shows ten without scrolling, the shortest first."""

_OBJECTS, _OTHERS = 14, 3
"""How many of them end in the name of an object, and how many in an adjective, or in any other word."""

_COMPARED = 400
"""Of so many words that begin alike, the best known are found. One letter is no more to go by."""

_TAIL_WORDS = 4
"""Words at the end of a prompt that are taken for the beginning of a name: "a toy pirate sh" is a ship's."""


class Completion:
    """The words of one model, laid out to be looked up while somebody types."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._kinds = [
            _Sorted(words.names, _OBJECTS),
            _Sorted(words.adjectives, _OTHERS),
            _Sorted(words.others, _OTHERS),
        ]

    def prompts(self, text: str) -> tuple[str, ...]:
        """`text` with its last words completed, a prompt for each way: objects first, those that are known best.

        At most SUGGESTIONS. Where no word was begun, with the objects that the model knows best.
        """
        found = (begun + word for begun, word in self._completed(text))
        fitting = (prompt for prompt in found if len(prompt) <= PROMPT_CHARACTERS)
        return tuple(islice(dict.fromkeys(fitting), SUGGESTIONS))

    def _completed(self, text: str) -> Iterator[tuple[str, str]]:
        """What of `text` stays, and what follows it."""
        starts = [word.start() for word in re.finditer(r"\S+", text)][-_TAIL_WORDS:]
        ended = " " if text[-1:].isspace() else ""
        for kind in self._kinds:
            for start in starts:
                tail = " ".join(text[start:].lower().split()) + ended
                yield from ((text[:start], word) for word in kind.beginning_with(tail))
        if ended or not starts:
            yield from ((text, name) for name in self.words.names[:SUGGESTIONS])


class _Sorted:
    """Words by their letters, of which the best known are offered, at most `most` at once."""

    def __init__(self, words: Sequence[str], most: int) -> None:
        self._most = most
        self._rank = {word.lower(): rank for rank, word in reversed([*enumerate(words)])}
        self.words = sorted(self._rank)

    def beginning_with(self, letters: str) -> list[str]:
        first = bisect_left(self.words, letters)
        near = self.words[first : first + _COMPARED]
        return nsmallest(self._most, (word for word in near if word.startswith(letters)), key=self._rank.__getitem__)
