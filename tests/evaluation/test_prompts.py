"""What is asked for."""

from collections import Counter
from itertools import chain

import pytest

from backend.evaluation.prompts import Prompts
from backend.guidance import library
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.load(library.builtin().folder)


def test_prompts_are_drawn_from_all_objects_the_same_each_time(lexicon: Lexicon) -> None:
    prompts = Prompts.drawn(lexicon)
    parts = prompts.presets, prompts.compared, prompts.tuning, prompts.starts
    assert [len(part) for part in parts] == [120, 24, 12, 20]
    shuffled = Lexicon(lexicon.nouns[::-1], lexicon.patterns, lexicon.words)
    assert Prompts.drawn(shuffled) == prompts, "how many objects of a kind a model was taught does not matter"


def test_prompts_are_understood_and_none_of_them_names_what_another_does(lexicon: Lexicon) -> None:
    prompts = Prompts.drawn(lexicon)
    parts = prompts.presets, prompts.compared, prompts.tuning, prompts.starts
    found = [lexicon.knows(text) for text in chain(*parts)]
    assert not [known.unknown for known in found if known.unknown]
    assert len({known.name for known in found}) == len(found) == 176
    assert {known.name for known in found} <= lexicon.numbers.keys()


def test_every_other_prompt_has_a_colour_and_all_colours_come_alike(lexicon: Lexicon) -> None:
    colours = Counter(lexicon.knows(prompt).colour for prompt in Prompts.drawn(lexicon).presets)
    assert colours == {None: 60, **dict.fromkeys(lexicon.colours, 5)}


def test_a_model_that_knows_little_is_asked_little() -> None:
    few = Prompts.drawn(Lexicon.of([Entry("0", "cat"), Entry("1", "owl"), Entry("2", "fox")]))
    assert len(few.presets) == 3
    assert few.compared == few.tuning == few.starts == ()
