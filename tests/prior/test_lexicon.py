import json
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.prior import catalogue, lexicon
from backend.prior.catalogue import Entry
from backend.prior.lexicon import Lexicon, UnknownObjectError

LEXICON = Lexicon.of(
    [
        Entry("0", "armchair", ("chair", "furniture"), ("a red armchair with wooden legs",), True, group="furniture"),
        Entry("1", "chair", ("seat", "furniture"), (), True, group="furniture"),
        Entry("2", "chair", ("wooden chair",), (), False, group="outside"),
        Entry("3", "chair", (), (), True, group="furniture"),
        Entry("4", "cat", ("kitty", "animal"), (), True, group="animals"),
        Entry("5", "siamese cat", ("cat", "animal"), (), True, group="animals"),
        Entry("6", "dog", ("animal",), (), True, group="animals"),
        Entry("7", "sneakers", ("shoes",), (), False, group="clothes"),
        Entry("8", "orange", ("fruit",), (), False, group="food"),
        Entry("9", "jack-o'-lantern", ("pumpkin",), (), True, group="food"),
        Entry("10", "hat", (), (), False, "striped", group="clothes"),
        Entry("11", "picture", (), (), True, group="furniture"),
        Entry("12", "crate of apples", ("crate",), (), False, group="food"),
        Entry("13", "crystal ball", (), (), False),
    ]
)


def test_each_noun_is_there_once_with_all_its_names_and_those_of_most_objects_come_first() -> None:
    chair = LEXICON.nouns[0]
    assert chair.noun == "chair"
    assert chair.names == ("chair", "seat", "furniture", "wooden chair")
    assert chair.group == "furniture"
    assert not chair.has_front
    assert LEXICON.nouns[LEXICON.numbers["armchair"]].has_front
    assert [noun.noun for noun in LEXICON.nouns[1:3]] == ["armchair", "cat"]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("armchair", {"armchair", "chair"}),
        ("chair", {"armchair", "chair"}),
        ("cat", {"cat", "siamese cat"}),
        ("dog", {"dog"}),
        ("animal", {"cat", "siamese cat", "dog"}),
        ("seat", {"chair"}),
    ],
)
def test_right_answers_are_what_a_name_may_mean(name: str, right: set[str]) -> None:
    assert LEXICON.right(name) == right


def test_right_answers_are_right_both_ways() -> None:
    nouns = [noun.noun for noun in LEXICON.nouns]
    assert all((one in LEXICON.right(other)) == (other in LEXICON.right(one)) for one in nouns for other in nouns)


@pytest.mark.parametrize(
    ("prompt", "name", "colour", "pattern"),
    [
        ("a red chair", "chair", "red", None),
        ("A GREY CHAIR!", "chair", "gray", None),
        ("a stripy violet hat", "hat", "purple", "striped"),
        ("a checkered hat", "hat", None, None),  # that pattern was not taught
        ("the siamese cat", "siamese cat", None, None),
        ("two blue cats", "cat", "blue", None),
        ("a sneaker", "sneakers", None, None),
        ("an orange", "orange", None, None),
        ("an orange dog", "dog", "orange", None),
        ("an orange orange", "orange", "orange", None),
        ("a red and blue hat", "hat", "red", None),
        ("a cat armchair", "armchair", None, None),
        ("a cat on a chair", "cat", None, None),
        ("a dog in a black hat", "dog", "black", None),
        ("on a chair", "chair", None, None),
        ("a picture of a cat", "cat", None, None),
        ("a picture", "picture", None, None),
        ("crates of apples", "crate", None, None),
        ("a Jack-O\u2019-Lantern", "jack-o'-lantern", None, None),
        ("an animal", "animal", None, None),
    ],
)
def test_it_understands_object_colour_and_pattern(
    prompt: str, name: str, colour: str | None, pattern: str | None
) -> None:
    known = LEXICON.knows(prompt)
    assert (known.name, known.colour, known.pattern) == (name, colour, pattern)


def test_a_prompt_is_told_in_words_that_were_taught() -> None:
    known = LEXICON.knows("Two Siamese Cats, and a leg, please")
    assert known.told == "two siamese cat , and a legs , please"
    assert known.warning is None


def test_any_text_can_be_put_in_words_that_were_taught() -> None:
    assert LEXICON.told("Cats") == "cat"
    assert LEXICON.told("blurry Chairs") == "blurry chair"
    assert LEXICON.told("") == ""


def test_unknown_words_are_named_once_and_in_order() -> None:
    known = LEXICON.knows("a fluffy, fluffy red dog with spikes")
    assert known.unknown == ("fluffy", "spikes")
    assert known.warning is not None
    assert "'fluffy', 'spikes'" in known.warning


@pytest.mark.parametrize(
    ("prompt", "nearest"),
    [
        ("a spotted puma", ("cat", "siamese cat", "dog")),
        ("a kitten", ("cat", "siamese cat", "dog")),
        ("a mountain lion", ("cat", "siamese cat", "dog")),
        ("wolves", ("dog",)),
        ("a sofa", ("chair", "armchair")),
        ("an apple", ("orange",)),
        ("armchiar", ("armchair", "chair")),
        ("a sneeker", ("sneakers",)),
    ],
)
def test_an_unknown_object_is_refused_with_the_nearest_in_meaning_or_spelling(
    prompt: str, nearest: tuple[str, ...]
) -> None:
    with pytest.raises(UnknownObjectError, match=nearest[0]) as caught:
        LEXICON.knows(prompt)
    assert caught.value.nearest[: len(nearest)] == nearest
    assert len(set(caught.value.nearest)) == 5


@pytest.mark.parametrize("prompt", ["", "  ", "red", "!?", "日本語", "with", "a" * 10_000])
def test_a_prompt_without_any_object_still_gets_suggestions(prompt: str) -> None:
    with pytest.raises(UnknownObjectError) as caught:
        LEXICON.knows(prompt)
    assert caught.value.nearest == ("chair", "armchair", "cat", "crate of apples", "crystal ball")


def test_a_prompt_of_nothing_but_misspelt_words_is_looked_up_for_the_first_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up = []
    monkeypatch.setattr(lexicon, "get_close_matches", lambda word, *given, **limits: looked_up.append(word) or [])
    with pytest.raises(UnknownObjectError):
        LEXICON.knows(" ".join(f"w{index}x" for index in range(60)))
    assert len(looked_up) == 5


def test_it_lists_kinds_with_their_synonyms_and_all_other_words() -> None:
    listing = LEXICON.listing
    assert listing.objects["animals"] == (
        ("cat", "kitty", "animal"),
        ("dog", "animal"),
        ("siamese cat", "cat", "animal"),
    )
    assert listing.names[:3] == ("chair", "armchair", "cat")
    assert len(set(listing.names)) == len(listing.names)
    assert {"kitty", "wooden chair"} < set(listing.names)
    assert listing.colours[:2] == ("red", "orange")
    assert listing.patterns == ("striped", "stripy")
    assert listing.materials == ("wooden",)
    assert "legs" in listing.others
    assert not {"with", "and", "a", "red", "wooden", "shoe", "cat"} & set(listing.others)


def test_nouns_are_listed_by_group() -> None:
    assert LEXICON.groups["animals"] == ("cat", "dog", "siamese cat")
    assert sorted(LEXICON.groups) == list(LEXICON.groups) == ["animals", "clothes", "food", "furniture", "objects"]


def test_groups_are_those_of_the_catalogue_or_all_one(tmp_path: Path) -> None:
    lines = ({"file": "a.glb", "noun": "cat", "group": "animals"}, {"file": "b.glb", "noun": "hat"})
    (tmp_path / catalogue.FILE).write_text("\n".join(map(json.dumps, lines)))
    for line in lines:
        (tmp_path / line["file"]).touch()
    assert Lexicon.of(catalogue.read(tmp_path)).groups == {"animals": ("cat",), "objects": ("hat",)}


def test_it_is_kept_with_the_model(tmp_path: Path) -> None:
    LEXICON.save(tmp_path)
    assert Lexicon.load(tmp_path) == LEXICON


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"nouns": 3, "patterns": [], "words": []}',
        '{"nouns": [], "patterns": [], "words": []}',
        '{"nouns": [{"noun": "cat"}], "patterns": [], "words": []}',
        '{"nouns": [{"noun": 3, "synonyms": []}], "patterns": [], "words": []}',
        '{"nouns": [{"noun": "cat", "synonyms": [], "legs": 4}], "patterns": [], "words": []}',
    ],
)
def test_a_damaged_one_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "lexicon.json").write_text(content)
    with pytest.raises(UserError, match=r"lexicon\.json is damaged"):
        Lexicon.load(tmp_path)


def test_a_missing_one_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lexicon.load(tmp_path)
