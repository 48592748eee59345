"""What is a kind of what, out of WordNet: which of some things are most like another one. Nothing here imports torch.

The table is made by `make_kinds`; WordNet's licence lies beside it.
"""

import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backend.prior.wording import forms, words_of

TABLE = Path(__file__).parent / "wordnet" / "nouns.txt.gz"

_TOO_GENERAL = 4
"""Kinds that belong to so few others, themselves included, say nothing: entity, object, whole, shape."""


@dataclass(frozen=True)
class Kinds:
    """Senses of nouns, numbered. above: for each, the kinds that it belongs to. senses: of words, usual ones first."""

    above: tuple[tuple[int, ...], ...]
    senses: Mapping[str, tuple[int, ...]]

    @classmethod
    def parsed(cls, table: str) -> "Kinds":
        """Kinds out of the text of a table."""
        usual: dict[str, int] = {}
        unusual: defaultdict[str, list[int]] = defaultdict(list)
        above = []
        for number, line in enumerate(table.splitlines()):
            words, kinds = line.split("\t")
            above.append(tuple(int(kind) for kind in kinds.split(",") if kind))
            for word in filter(None, words.split(",")):
                if word.startswith("~"):
                    unusual[word[1:]].append(number)
                else:
                    usual[word] = number
        return cls(tuple(above), {word: (number, *unusual[word]) for word, number in usual.items()})

    def meant(self, name: str) -> tuple[int, ...]:
        """The senses of `name` in either number."""
        *first, last = words_of(name) or [""]
        named = (self.senses.get(" ".join([*first, form])) for form in forms(last))
        return next(filter(None, named), ())

    def head(self, name: str) -> tuple[int, ...]:
        """The senses of what `name` ends with, before any "of": a race car is a car, a crate of apples a crate."""
        words = re.split(r" (?:of|with) ", name)[0].split()
        ends = (self.meant(" ".join(words[start:])) for start in range(len(words)))
        return next(filter(None, ends), ())

    def steps(self, sense: int) -> dict[int, int]:
        """`sense` and all kinds above it, and how many steps away each is."""
        found, reached = {sense: 0}, [sense]
        for at in reached:
            for kind in self.above[at]:
                if kind not in found:
                    found[kind] = found[at] + 1
                    reached.append(kind)
        return found

    def sense(self, names: Sequence[str]) -> int | None:
        """What a thing is that has all of `names`: of the first one known that sense which the others are most like."""
        known = {name: found for look in (self.meant, self.head) for name in names if (found := look(name))}
        if not known:
            return None
        (_, first), *others = known.items()
        return max(first, key=lambda sense: sum(max(self._alike(sense, o) for o in other) for _, other in others))

    def _alike(self, sense: int, other: int) -> float:
        one, two = self.steps(sense).keys(), self.steps(other).keys()
        return len(one & two) / len(one | two)

    def nearest(self, sense: int, things: Sequence[int | None]) -> list[int]:
        """The places in `things`, which are senses, of those that are like `sense`, nearest first.

        Two things are the nearer the fewer things there are of the narrowest kind that both belong to.
        """
        mine = {kind: steps for kind, steps in self.steps(sense).items() if len(self.steps(kind)) > _TOO_GENERAL}
        theirs = [{} if thing is None else self.steps(thing) for thing in things]
        sizes = Counter(kind for steps in theirs for kind in steps)
        apart = {}
        for place, steps in enumerate(theirs):
            if shared := [(sizes[kind], steps[kind] + mine[kind]) for kind in steps.keys() & mine.keys()]:
                apart[place] = min(shared)
        return sorted(apart, key=lambda place: apart[place])


@cache
def kinds() -> Kinds:
    """The kinds that come with the program."""
    return Kinds.parsed(gzip.decompress(TABLE.read_bytes()).decode())
