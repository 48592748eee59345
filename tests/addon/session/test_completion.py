"""What a prompt is completed with while it is typed."""

import string
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

Module = Callable[[str], ModuleType]
NAMES = ("pig", "Pirate Ship", "pirate", "mug", "pickup truck", "toy pirate ship", "sailing ship")


@pytest.fixture(scope="module")
def completion(module: Module) -> Any:
    words = module("shared.words").Words(NAMES, ("red", "pink", "wooden"), ("sails", "pipes"))
    return module("session.completion").Completion(words)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        (
            "a red pi",
            tuple(f"a red {word}" for word in ("pig", "pirate ship", "pirate", "pickup truck", "pink", "pipes")),
        ),
        ("A Red PIG", ("A Red pig",)),
        ("a pirate sh", ("a pirate ship",)),
        ("a pirate  sh", ("a pirate ship",)),
        ("a toy pirate sh", ("a toy pirate ship",)),
        ("a ship with sa", ("a ship with sailing ship", "a ship with sails")),
        ("pirate", ("pirate ship", "pirate")),
        ("wo", ("wooden",)),
        ("a red xyz", ()),
        ("?!", ()),
        ("\ud800", ()),
    ],
)
def test_the_last_words_are_completed_objects_first(completion: Any, text: str, prompts: tuple[str, ...]) -> None:
    assert completion.prompts(text) == prompts


@pytest.mark.parametrize("text", ["", "a ", "a red "])
def test_where_no_word_was_begun_the_best_known_objects_are_offered(completion: Any, text: str) -> None:
    assert completion.prompts(text) == tuple(f"{text}{name}" for name in NAMES)


def test_a_name_of_several_words_goes_on_after_its_space(completion: Any) -> None:
    assert completion.prompts("a pirate ")[:2] == ("a pirate ship", "a pirate pig")


def test_what_is_offered_fits_the_field(completion: Any, module: Module) -> None:
    room = module("shared.limits").PROMPT_CHARACTERS
    begun = "x" * (room - 5) + " "
    assert completion.prompts(f"{begun}pi") == (f"{begun}pig", f"{begun}pink")


@given(st.text(max_size=300))
def test_it_never_raises_and_keeps_what_was_typed(completion: Any, text: str) -> None:
    kept = "".join(text.split()[:-4])
    assert all("".join(prompt.split()).startswith(kept) for prompt in completion.prompts(text))


class Counted(list[str]):
    """Counts the words that are looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.looks += len(found) if isinstance(place, slice) else 1
        return found


def test_a_key_costs_a_few_looks_at_thousands_of_words(module: Module) -> None:
    names = tuple(
        f"{first}{second}{number:02}" for first in string.ascii_lowercase for second in "aeiou" for number in range(24)
    )
    assert len(names) > 3_000
    made = module("session.completion").Completion(module("shared.words").Words(names, names, names))
    for kind in made._kinds:
        kind.words = Counted(kind.words)
    compared = module("session.completion")._COMPARED
    for text in ("", "a", "zu", "a a a a a a a", "p " * 150, "a red pi"):
        made.prompts(text)
        looks = [kind.words.looks for kind in made._kinds]
        assert max(looks) <= 4 * (13 + compared), text
        assert not text or min(looks) > 0, "they were counted"
        for kind in made._kinds:
            kind.words.looks = 0


def test_of_many_words_that_begin_alike_the_best_known_are_offered(module: Module) -> None:
    names = tuple(f"x{number:03}" for number in reversed(range(300)))
    made = module("session.completion").Completion(module("shared.words").Words(names, ("xylem",), ()))
    assert made.prompts("x") == (*names[:14], "xylem")
