"""What a model knows, and what to tell someone who asks for something else. Nothing here imports torch."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from backend.errors import UserError
from backend.guidance import folders
from backend.prior.catalogue import SOLIDS, Entry
from backend.prior.kinds import kinds
from backend.prior.listing import MATERIAL_WORDS, Listing
from backend.prior.synonyms import COLOUR_WORDS, PATTERN_WORDS
from backend.prior.wording import all_words, forms, words_of

FILE = folders.WORDS
_NEAREST = 5
_SILENT = frozenset({"my", "please", "one", "some", "two", "three", "this", "that", "very"})
"""Words outside the captions that are not worth a warning."""

_DEPICTIONS = frozenset({"picture", "photo", "photograph", "image", "drawing", "painting", "render", "model"})
"""What these are of is the object."""

_PREPOSITIONS = frozenset({"with", "without", "on", "in", "of", "under", "beside", "near", "at", "by", "from", "for"})
"""What an object is described with follows these: a knight with a sword is a knight."""

_FUNCTIONAL = frozenset({"and", "the", "its", "his", "her", "that", "where", "while", "each", "other", "like", "being"})
"""What nobody would look for in a list."""


class UnknownObjectError(UserError):
    """The prompt names nothing that the model can make. `nearest`: known objects that come next to it."""

    def __init__(self, prompt: str, nearest: tuple[str, ...]) -> None:
        self.nearest = nearest
        super().__init__(f'the model knows no object in "{prompt}"; try one of: {", ".join(nearest)}')


@dataclass(frozen=True)
class Understanding:
    """What a model makes of a prompt.

    name: the object, a noun or another name of one. colour, pattern: out of COLOUR_WORDS and PATTERN_WORDS, or None.
    told: the prompt in words that the model was taught. unknown: words that will have no effect, in order.
    """

    name: str
    colour: str | None
    pattern: str | None
    told: str
    unknown: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """One line that names the words without effect, or None."""
        if not self.unknown:
            return None
        return f"the model does not know {', '.join(map(repr, self.unknown))}: no effect on the result"


@dataclass(frozen=True)
class Noun:
    """A kind of object that a model knows.

    synonyms: other words for it, more general ones among them. has_front: whether all objects of the kind have one.
    """

    noun: str
    synonyms: tuple[str, ...] = ()
    group: str = Entry.group
    has_front: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called, the usual word first."""
        return self.noun, *self.synonyms


@dataclass(frozen=True)
class Lexicon:
    """The nouns, patterns and words that one trained model knows; those with most objects first."""

    nouns: tuple[Noun, ...]
    patterns: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Lexicon":
        """What a model knows that was taught `entries`."""
        kinds: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            kinds[entry.noun].append(entry)
        usual = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
        everything = [entry for kind in kinds.values() for entry in kind]
        patterns = {entry.pattern for entry in everything}
        return cls(
            nouns=tuple(_noun(name, kind) for name, kind in usual),
            patterns=tuple(pattern for pattern in PATTERN_WORDS if pattern in patterns),
            words=tuple(all_words(everything)),
        )

    @property
    def colours(self) -> tuple[str, ...]:
        """Names of colours that any object with a main colour can be asked for in."""
        return tuple(COLOUR_WORDS)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each noun in `nouns`."""
        return {noun.noun: number for number, noun in enumerate(self.nouns)}

    def right(self, name: str) -> frozenset[str]:
        """The nouns that are right answers where `name` is shown: those it can mean.

        A noun and another one are right for each other if one of them may be called the other: a sofa is right for a
        couch, a chair for an armchair and an armchair for a chair, but no armchair for a bench.
        """
        own = self.nouns[self.numbers[name]].names if name in self.numbers else (name,)
        return frozenset(noun.noun for noun in self.nouns if noun.noun in own or name in noun.names)

    def knows(self, prompt: str) -> Understanding:
        """What the model understands of `prompt`: its object, colour, pattern, and the words it does not know.

        Names of several words are found wherever they stand, in either number. Where a prompt names several objects,
        the last one before a preposition counts ("a box car" is a car, "a cat on a sofa" a cat), and of colours and
        patterns the first one. Raises UnknownObjectError if nothing names an object.
        """
        told = self._parts(prompt)
        objects = [place for place, part in enumerate(told) if part in self._names and not _depicts(told, place)]
        ends = [place for place, part in enumerate(told) if part in _PREPOSITIONS and objects and place > objects[0]]
        named = [place for place in objects if place < min(ends, default=len(told))]
        unknown = self.unknown(prompt)
        if not named:
            raise UnknownObjectError(prompt, self._nearest(told, unknown))
        rest = [part for place, part in enumerate(told) if place != named[-1]]
        return Understanding(
            name=self._names[told[named[-1]]],
            colour=_first(rest, _COLOURS),
            pattern=_first(rest, {word: name for word, name in _PATTERNS.items() if name in self.patterns}),
            told=" ".join(told),
            unknown=unknown,
        )

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of `text` that the model was never taught, in order, each once."""
        words = (word for part in self._parts(text) for word in words_of(part) if word.isalnum())
        return tuple(dict.fromkeys(word for word in words if word not in self._taught and word not in _SILENT))

    def told(self, text: str) -> str:
        """`text` in words that the model was taught, as far as it was."""
        return " ".join(self._parts(text))

    @cached_property
    def listing(self) -> Listing:
        """All that can be asked for; kinds, colours and other words in alphabetical order."""
        kinds = {noun.noun: noun.names for noun in self.nouns}
        colours, patterns = _all_words(COLOUR_WORDS, COLOUR_WORDS), _all_words(PATTERN_WORDS, self.patterns)
        materials = tuple(word for word in MATERIAL_WORDS if word in self._taught)
        listed = {*self._names, *_COLOURS, *_PATTERNS, *materials, *_PREPOSITIONS, *_FUNCTIONAL}
        words = (word for word in self.words if word.isalpha() and len(word) > 2)
        return Listing(
            objects={group: tuple(kinds[noun] for noun in nouns) for group, nouns in self.groups.items()},
            names=tuple(dict.fromkeys([*kinds, *(name for noun in self.nouns for name in noun.synonyms)])),
            colours=colours,
            patterns=patterns,
            materials=materials,
            others=tuple(word for word in words if listed.isdisjoint(forms(word))),
        )

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The nouns of each group, both in alphabetical order."""
        listed: defaultdict[str, list[str]] = defaultdict(list)
        for noun in sorted(self.nouns, key=lambda noun: noun.noun):
            listed[noun.group].append(noun.noun)
        return {group: tuple(listed[group]) for group in sorted(listed)}

    @cached_property
    def _taught(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Every name of a noun, by its words; a noun before what is only a synonym of others."""
        names = (*(noun.noun for noun in self.nouns), *(name for noun in self.nouns for name in noun.synonyms))
        return {" ".join(words_of(name)): name for name in reversed(names)}

    @cached_property
    def _senses(self) -> list[int | None]:
        return [kinds().sense(noun.names) for noun in self.nouns]

    @cached_property
    def _longest(self) -> int:
        return max(len(name.split(" ")) for name in self._names)

    def _parts(self, prompt: str) -> list[str]:
        """The prompt cut into names of objects, the longest ones that it holds, and single words."""
        words, parts = words_of(prompt), []
        while words:
            ends = range(min(len(words), self._longest), 0, -1)
            named = (name for end in ends if (name := self._named(words[:end])))
            part = next(named, None) or next((form for form in forms(words[0]) if form in self._taught), words[0])
            parts.append(part)
            del words[: len(part.split(" "))]
        return parts

    def _named(self, words: Sequence[str]) -> str | None:
        """The name that `words` are, their last one in either number."""
        names = (" ".join([*words[:-1], form]) for form in forms(words[-1]))
        return next((name for name in names if name in self._names), None)

    def _nearest(self, told: Sequence[str], unknown: Sequence[str]) -> tuple[str, ...]:
        """Known nouns: what an unknown word misspells, then what means something like it, then usual ones."""
        asked = " ".join(part for part in told if part not in _COLOURS and part not in _PATTERNS)
        misspelt = [word for word in unknown if not kinds().meant(word)][:_NEAREST]
        close = [name for word in misspelt for name in get_close_matches(word, self._names, _NEAREST, cutoff=0.75)]
        meant = [
            min(self.right(self._names[name]), key=lambda noun: (noun != name, self.numbers[noun])) for name in close
        ]
        senses = [self._senses[self.numbers[noun]] for noun in meant]
        senses += [sense for text in (asked, *unknown) for sense in (kinds().meant(text) or kinds().head(text))[:1]]
        alike = (kinds().nearest(sense, self._senses) for sense in senses if sense is not None)
        like = [self.nouns[place].noun for place in next(filter(None, alike), ())]
        return tuple(dict.fromkeys([*meant, *like, *(noun.noun for noun in self.nouns)]))[:_NEAREST]

    def save(self, folder: Path) -> None:
        """Write the lexicon into a model's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self), separators=(",", ":")) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Lexicon":
        """Read a model's lexicon back. Raises FileNotFoundError if there is none, and UserError for a damaged one."""
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            read = cls(
                nouns=tuple(Noun(**{**kind, "synonyms": tuple(kind["synonyms"])}) for kind in content["nouns"]),
                patterns=tuple(content["patterns"]),
                words=tuple(content["words"]),
            )
            texts = (*read.patterns, *read.words, *(text for noun in read.nouns for text in (noun.group, *noun.names)))
            if not read.nouns or not all(isinstance(text, str) and text for text in texts):
                raise ValueError("it names no objects")
            return read
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError(f"{folder / FILE} is damaged ({error}); take another copy of the model") from error


def _noun(name: str, kind: list[Entry]) -> Noun:
    synonyms = dict.fromkeys(word for entry in kind for word in entry.synonyms if word != name)
    # A chair is a piece of furniture, however many of those that were taught are solids.
    groups = [entry.group for entry in kind if entry.group != SOLIDS] or [SOLIDS]
    ((group, _),) = Counter(groups).most_common(1)
    return Noun(name, tuple(synonyms), group, all(entry.has_front for entry in kind))


_COLOURS = {word: name for name, words in COLOUR_WORDS.items() for word in words}
_PATTERNS = {word: name for name, words in PATTERN_WORDS.items() for word in words}


def _all_words(table: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for name in names for word in table[name])


def _depicts(parts: Sequence[str], place: int) -> bool:
    return parts[place] in _DEPICTIONS and parts[place + 1 : place + 2] == ["of"]


def _first(parts: Iterable[str], meanings: Mapping[str, str]) -> str | None:
    """What the first of `parts` means that has a meaning."""
    return next((meanings[part] for part in parts if part in meanings), None)
