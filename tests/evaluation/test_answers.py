"""Answers to a study, read and counted."""

import base64
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.evaluation import answers
from backend.evaluation.answers import Preference, preference, told
from backend.evaluation.study import Key

PAIRS = 12
KEY = Key(
    arms=("time_prior/60", "uniform/60"),
    prompts=tuple(f"a thing {number}" for number in range(PAIRS)),
    exchanged=tuple(number % 3 == 0 for number in range(PAIRS)),
    pictures=64 * "0",
)
ARM_OF = {"time_prior": 0, "uniform": 1}


def chosen(pair: int, what: str) -> str:
    """What a page has in its file where a person means an arm."""
    return "same" if what == "same" else ("first", "second")[ARM_OF[what] ^ KEY.exchanged[pair]]


def sheet(number: int, choose: Callable[[int], str | None], question: str = "fits") -> dict[str, Any]:
    """The file of a person, who answers a question on each pair so, or not."""
    given = [(pair, choose(pair)) for pair in range(PAIRS)]
    return {
        "format": 1,
        "study": KEY.encoded(),
        "participant": f"{number:032x}",
        "answers": [{"pair": pair, "question": question, "choice": chosen(pair, what)} for pair, what in given if what],
    }


def saved(folder: Path, sheets: list[dict[str, Any]]) -> list[Path]:
    paths = [folder / f"answers-{number}.json" for number in range(len(sheets))]
    for path, values in zip(paths, sheets, strict=True):
        path.write_text(json.dumps(values))
    return paths


def found(folder: Path, sheets: list[dict[str, Any]]) -> Preference:
    result = preference(*answers.read(saved(folder, sheets)), "fits")
    assert result
    return result


def test_choices_are_counted_for_the_arm_that_was_meant(tmp_path: Path) -> None:
    """Eight people, of twelve pairs: the first six for one, three for the other, three without difference."""
    what = ["time_prior"] * 6 + ["uniform"] * 3 + ["same"] * 3
    result = found(tmp_path, [sheet(number, lambda pair: what[pair]) for number in range(8)])
    assert [share for share, _ in result.shares] == [0.5, 0.25, 0.25]
    assert (result.people, result.prompts, result.count) == (8, 12, 96)
    assert result.gain
    assert result.gain.mean == 0.25


def test_a_clear_preference_is_named_whichever_arm_it_is(tmp_path: Path) -> None:
    draw = random.Random(0)
    for arm, other in (("time_prior", "uniform"), ("uniform", "time_prior")):
        result = found(tmp_path, [sheet(n, lambda _, a=arm, o=other: draw.choice([a, a, a, o])) for n in range(8)])
        assert result.gain
        *shares, verdict = result.sentences(KEY.arms)
        assert len(shares) == 3
        assert re.fullmatch(rf"{arm}/60 is preferred: its share is larger by \d+\.\d points \(.+\)\.", verdict)
        low, high = (float(end) for end in re.findall(r"\d+\.\d", verdict)[1:])
        assert 0 < low < high


def test_no_preference_is_made_up(tmp_path: Path) -> None:
    draw = random.Random(1)
    result = found(tmp_path, [sheet(n, lambda _: draw.choice(["time_prior", "uniform"])) for n in range(8)])
    assert list(result.sentences(KEY.arms))[-1].startswith(
        "Undecided: the share of time_prior/60 less that of uniform/60"
    )


@pytest.mark.parametrize(("people", "pairs"), [(5, 12), (8, 5), (1, 12), (8, 1)])
def test_a_few_people_or_prompts_decide_nothing(tmp_path: Path, people: int, pairs: int) -> None:
    result = found(tmp_path, [sheet(n, lambda pair: "time_prior" if pair < pairs else None) for n in range(people)])
    share, *_, verdict = result.sentences(KEY.arms)
    assert share.startswith("time_prior/60: 100.0%")
    assert verdict == "Undecided: that takes 6 people and 6 prompts, with opinions."


def test_seeds_of_a_prompt_are_one_prompt(tmp_path: Path) -> None:
    key = Key(KEY.arms, ("a mug", "a mug", "a fox"), (False, False, False), KEY.pictures)
    values = [
        sheet(number, lambda _: None)
        | {
            "study": key.encoded(),
            "answers": [
                {"pair": pair, "question": "fits", "choice": ("first", "second", "second")[pair]} for pair in range(3)
            ],
        }
        for number in range(2)
    ]
    result = found(tmp_path, values)
    assert result.prompts == 2
    assert [share for share, _ in result.shares] == [0.25, 0.75, 0.0]


def test_what_nobody_answered_is_said(tmp_path: Path) -> None:
    lines = list(told(*answers.read(saved(tmp_path, [sheet(0, lambda _: "same")]))))
    assert lines[0] == "time_prior/60 against uniform/60, in 12 pairs:"
    assert "Which fits the words better? 12 answers of 1 person on 12 prompts:" in lines
    assert "  no difference: 100.0%" in lines
    assert "Which looks better? Nobody answered." in lines


def changed(values: dict[str, Any], **fields: object) -> str:
    return json.dumps(values | fields)


WHOLE = sheet(0, lambda _: "time_prior")
ONE = WHOLE["answers"][0]


def locked(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


KEY_VALUES = json.loads(base64.b64decode(KEY.encoded()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "recursion"),
        ("\x00\xff", "Expecting value"),
        ("[]", "a Answers is a list"),
        (json.dumps({"format": 1}), "a Answers lacks answers"),
        (changed(WHOLE, format=2), "format is 2"),
        (changed(WHOLE, participant="../../etc"), "participant is"),
        (changed(WHOLE, answers=[ONE | {"choice": "third"}]), "choice is 'third'"),
        (changed(WHOLE, answers=[ONE | {"question": "costs"}]), "question is 'costs'"),
        (changed(WHOLE, answers=[ONE | {"pair": -1}]), "pair is -1"),
        (changed(WHOLE, answers=[ONE | {"pair": True}]), "pair is True"),
        (changed(WHOLE, answers=[ONE | {"pair": PAIRS}]), "a pair is not of the study"),
        (changed(WHOLE, answers=[ONE, ONE]), "a question is answered twice"),
        (changed(WHOLE, study="no key"), "base64"),
        (changed(WHOLE, study="é"), "ASCII"),
        (changed(WHOLE, study=base64.b64encode(b"[" * 100_000).decode()), "recursion"),
        (changed(WHOLE, study=locked(KEY_VALUES | {"arms": ["one"]})), "arms is a tuple"),
        (changed(WHOLE, study=locked(KEY_VALUES | {"exchanged": [True]})), "prompts and exchanged differ in length"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    wrong, right = tmp_path / "wrong.json", saved(tmp_path, [WHOLE])
    wrong.write_text(text)
    with pytest.raises(UserError, match=r"wrong\.json holds no answers to a study") as caught:
        answers.read([*right, wrong])
    assert said in str(caught.value)
    assert "take a file that its page saved" in str(caught.value)


def test_files_of_two_studies_are_not_mixed(tmp_path: Path) -> None:
    other = Key(KEY.arms, KEY.prompts, KEY.exchanged, 64 * "1")
    paths = saved(tmp_path, [WHOLE, sheet(1, lambda _: "same") | {"study": other.encoded()}])
    with pytest.raises(UserError, match=r"answers-1\.json is of another study than .*answers-0\.json"):
        answers.read(paths)


def test_a_person_counts_once(tmp_path: Path) -> None:
    paths = saved(tmp_path, [sheet(0, lambda pair: "same" if pair < 3 else None), WHOLE])
    with pytest.raises(
        UserError, match=r"answers-0\.json and .*answers-1\.json are of one person: leave the older one"
    ):
        answers.read(paths)
    _, sheets = answers.read([paths[1], paths[1]])
    assert len(sheets) == 1
