from pathlib import Path

import pytest

from backend.errors import UserError
from backend.prior.captions import Subject, example_prompts
from backend.prior.vocabulary import UnknownObjectError, Vocabulary

VOCABULARY = Vocabulary()


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("a red mug", Subject("mug", "red")),
        ("A RED MUG!", Subject("mug", "red")),
        ("mug, grey, from above", Subject("mug", "gray")),
        ("a stripy violet cup", Subject("mug", "purple", "striped")),
        ("a tree", Subject("tree")),
        ("a box car", Subject("car")),
        ("a red and blue hat", Subject("hat", "red")),
    ],
)
def test_it_understands_object_colour_and_pattern(prompt: str, subject: Subject) -> None:
    understood = VOCABULARY.knows(prompt)
    assert understood.subject == subject
    assert understood.warning is None


def test_unknown_words_are_named_once_and_in_order() -> None:
    understood = VOCABULARY.knows("a shiny, shiny red mug with flowers")
    assert understood.subject == Subject("mug", "red")
    assert understood.unknown == ("shiny", "flowers")
    assert understood.warning is not None
    assert "'shiny', 'flowers'" in understood.warning


@pytest.mark.parametrize(("prompt", "nearest"), [("a red mugg", "mug"), ("two donuts", "donut"), ("hausboot", "house")])
def test_an_unknown_object_is_refused_with_the_nearest_known(prompt: str, nearest: str) -> None:
    with pytest.raises(UnknownObjectError, match=nearest) as caught:
        VOCABULARY.knows(prompt)
    assert nearest in caught.value.nearest
    assert len(caught.value.nearest) == 5


@pytest.mark.parametrize("prompt", ["", "  ", "red", "!?", "日本語", "a" * 10_000])
def test_a_prompt_without_any_object_still_gets_suggestions(prompt: str) -> None:
    with pytest.raises(UnknownObjectError) as caught:
        VOCABULARY.knows(prompt)
    assert len(caught.value.nearest) == 5


def test_a_smaller_model_knows_less() -> None:
    small = Vocabulary(objects=("sphere",), colours=("red",), patterns=())
    assert small.knows("a blue sphere").unknown == ("blue",)
    with pytest.raises(UnknownObjectError):
        small.knows("a red mug")


def test_what_has_no_colour_of_its_own_gets_one_by_the_seed() -> None:
    asked = {VOCABULARY.asked("a mug, please", seed) for seed in range(50)}
    subjects = [VOCABULARY.knows(prompt).subject for prompt in asked]
    assert {subject.shape for subject in subjects} == {"mug"}
    assert len({subject.colour for subject in subjects} - {None}) == len(asked) == 8
    assert VOCABULARY.asked("a mug", 3) == VOCABULARY.asked("a mug", 3)
    assert "striped" in VOCABULARY.asked("a striped hat", 0)


@pytest.mark.parametrize("prompt", ["a white mug", "a tree", "a robot, front view"])
def test_other_prompts_are_told_as_they_are(prompt: str) -> None:
    assert VOCABULARY.asked(prompt, 0) == prompt


def test_a_model_of_few_colours_gives_those_that_it_has() -> None:
    assert Vocabulary(colours=("white",)).asked("a mug", 0) == "a white mug"
    assert Vocabulary(colours=()).asked("a mug", 0) == "a mug"


def test_all_example_prompts_are_understood() -> None:
    assert all(VOCABULARY.knows(prompt).warning is None for prompt in example_prompts())


def test_it_is_kept_with_the_model(tmp_path: Path) -> None:
    small = Vocabulary(objects=("sphere",), colours=("red",), patterns=())
    small.save(tmp_path)
    assert Vocabulary.load(tmp_path) == small


@pytest.mark.parametrize("content", ["{", "[]", '{"objects": 3}', '{"things": []}', '{"objects": ["gryphon"]}'])
def test_a_damaged_one_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(UserError, match=r"vocabulary\.json is damaged"):
        Vocabulary.load(tmp_path)
