"""What is asked for: objects drawn by a fixed seed from all that the built-in model knows, half of them in a colour."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from backend.prior.catalogue import SOLIDS
from backend.prior.lexicon import Lexicon
from backend.prior.wording import asked_for, every_other

TRIED, COMPARED, TUNING, STARTED = 120, 24, 12, 20
"""How many prompts there are of each kind; see `Prompts`."""


@dataclass(frozen=True)
class Prompts:
    """Presets are judged and schedules compared on others than settings are chosen on: as drawn, none shares an object.

    starts: what is begun from true objects, each in its own colours; no simple solids.
    """

    presets: tuple[str, ...]
    compared: tuple[str, ...]
    tuning: tuple[str, ...]
    starts: tuple[str, ...]

    @classmethod
    def own(cls, prompts: Sequence[str]) -> "Prompts":
        """The same prompts for everything."""
        return cls(*(tuple(prompts),) * 4)

    @classmethod
    def drawn(cls, lexicon: Lexicon) -> "Prompts":
        """The prompts for a model that knows `lexicon`; fewer where it has not so many nouns."""
        draw = random.Random(0)
        nouns = sorted(lexicon.numbers)
        nouns, colours = (draw.sample(words, len(words)) for words in (nouns, lexicon.colours))
        asked = [asked_for(noun, every_other(number, colours)) for number, noun in enumerate(nouns)]
        ends = [0, *accumulate((TRIED, COMPARED, TUNING))]
        begun = [asked_for(noun, None) for noun in nouns[ends[-1] :] if noun not in lexicon.groups.get(SOLIDS, ())]
        presets, compared, tuning = (tuple(asked[begin:end]) for begin, end in pairwise(ends))
        return cls(presets, compared, tuning, tuple(begun[:STARTED]))
