"""What a model knows, and what to tell someone who asks for something else. Nothing here imports torch."""

import json
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from random import Random

from backend.errors import UserError
from backend.prior.captions import (
    COLOUR_WORDS,
    OBJECT_WORDS,
    PATTERN_WORDS,
    Subject,
    all_words,
    with_articles,
    words_of,
)
from backend.prior.lexicon import UnknownObjectError
from backend.prior.listing import Listing

FILE = "vocabulary.json"
_NEAREST = 5
_SILENT = frozenset({"my", "please", "one", "with", "in", "on", "and"})
"""Words outside the captions that are not worth a warning."""
_OF_ANY_COLOUR = frozenset(
    {"sphere", "cube", "cone", "cylinder", "donut", "mug", "bowl", "table", "chair", "hat", "lamp", "dumbbell"}
)
_POOR = frozenset({"white", "gray", "black", "yellow"})
"""Colours that come out worst: hardly apart from the background, or as olive."""


@dataclass(frozen=True)
class Understanding:
    """What a model makes of a prompt. unknown: words that will have no effect, in order."""

    subject: Subject
    unknown: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """One line that names the words without effect, or None."""
        if not self.unknown:
            return None
        return f"the model does not know {', '.join(map(repr, self.unknown))}: no effect on the result"


@dataclass(frozen=True)
class Vocabulary:
    """The objects, colours and patterns that one trained model knows."""

    objects: tuple[str, ...] = tuple(OBJECT_WORDS)
    colours: tuple[str, ...] = tuple(COLOUR_WORDS)
    patterns: tuple[str, ...] = tuple(PATTERN_WORDS)

    def knows(self, prompt: str) -> Understanding:
        """What the model understands of `prompt`: its object, colour, pattern, and the words it does not know.

        Where a prompt names several of a kind, the last object counts ("a box car" is a car) and the
        first colour and pattern. Raises UnknownObjectError if no word names an object.
        """
        found: dict[str, str] = {}
        for word in words_of(prompt):
            if word in self._meanings:
                kind, name = self._meanings[word]
                if kind == "shape" or kind not in found:
                    found[kind] = name
        unknown = self.unknown(prompt)
        if "shape" not in found:
            raise UnknownObjectError(prompt, self._nearest(list(unknown)))
        return Understanding(Subject(**found), unknown)

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of `text` that the model was never taught, in order, each once."""
        words = (word for word in words_of(text) if word.isalnum())
        return tuple(dict.fromkeys(w for w in words if w not in self._meanings and w not in self._harmless))

    def told(self, text: str) -> str:
        """`text` as it is: the model was taught to pass over other words."""
        return text

    def asked(self, prompt: str, seed: int) -> str:
        """`prompt` as the model is told it: kinds that have no colour of their own are given one, by `seed`.

        It draws those in any colour where none is named, so in none at all: what is left of them is background grey.
        """
        subject = self.knows(prompt).subject
        if subject.shape not in _OF_ANY_COLOUR or subject.colour:
            return self.told(prompt)
        colour = Random(seed).choice([name for name in self.colours if name not in _POOR] or self.colours or (None,))
        return with_articles(" ".join(word for word in ("{article}", colour, subject.pattern, subject.shape) if word))

    @property
    def listing(self) -> Listing:
        """All that can be asked for."""
        return Listing(
            objects={"objects": tuple(OBJECT_WORDS[name] for name in self.objects)},
            names=self.object_words,
            colours=tuple(word for name in self.colours for word in COLOUR_WORDS[name]),
            patterns=tuple(word for name in self.patterns for word in PATTERN_WORDS[name]),
        )

    @property
    def object_words(self) -> tuple[str, ...]:
        """All words that name an object, synonyms after each name."""
        return tuple(word for word, (kind, _) in self._meanings.items() if kind == "shape")

    @cached_property
    def _meanings(self) -> dict[str, tuple[str, str]]:
        """For each meaningful word, its kind (a field of Subject) and the name it stands for."""
        kinds = (
            ("shape", self.objects, OBJECT_WORDS),
            ("colour", self.colours, COLOUR_WORDS),
            ("pattern", self.patterns, PATTERN_WORDS),
        )
        return {word: (kind, name) for kind, names, words in kinds for name in names for word in words[name]}

    @cached_property
    def _harmless(self) -> frozenset[str]:
        everything = Vocabulary()._meanings
        return frozenset(word for word in all_words() if word not in everything) | _SILENT

    def _nearest(self, words: list[str]) -> tuple[str, ...]:
        """Known objects spelt most like one of `words`, filled up with others in their usual order."""
        close = [match for word in words for match in get_close_matches(word, self.object_words, n=3, cutoff=0.5)]
        names = [self._meanings[match][1] for match in close]
        return tuple(dict.fromkeys([*names, *self.objects]))[:_NEAREST]

    def save(self, folder: Path) -> None:
        """Write the vocabulary into a model's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Vocabulary":
        """Read a model's vocabulary back.

        Raises FileNotFoundError if there is none, and UserError for a damaged one or one of words unknown here.
        """
        try:
            content = json.loads((folder / FILE).read_text("utf-8"))
            read = cls(**{kind: tuple(names) for kind, names in content.items()})
            _ = read._meanings
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError(f"{folder / FILE} is damaged ({error}); take another copy of the model") from error
        return read
