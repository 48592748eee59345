"""What people answered to a `study`: read from the files that they saved, and counted."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.evaluation import statistics
from backend.evaluation.statistics import CONFIDENCE, FEWEST, Interval
from backend.evaluation.study import FORMAT, MOST_PAIRS, QUESTIONS, Key
from shared.records import Record, at_most, between, checked, from_json, matching, text

_CHOICES = ("first", "second", "same")
"""As the page has the pictures; `Key.exchanged` tells which arm that is."""

_LONGEST_KEY = 10_000_000


@dataclass(frozen=True)
class Choice(Record):
    """One answer about one pair."""

    pair: int = checked(between(0, MOST_PAIRS - 1))
    question: str = checked(lambda name: name in QUESTIONS)
    choice: str = checked(lambda name: name in _CHOICES)


@dataclass(frozen=True)
class Answers(Record):
    """A file that a person saved. study: its key, encoded."""

    format: int = checked(lambda number: number == FORMAT)
    study: str = checked(text(_LONGEST_KEY))
    participant: str = checked(matching("[0-9a-f]{32}"))
    answers: tuple[Choice, ...] = checked(at_most(MOST_PAIRS * len(QUESTIONS)))


def read(paths: Sequence[Path]) -> tuple[Key, list[Answers]]:
    """The key of the study, and what each person answered. Raises UserError for a file that holds no answers, or those
    of another study than the first one does, and for two files of one person.
    """
    sheets = {path: _read(path) for path in paths}
    study = sheets[paths[0]].study
    people: dict[str, Path] = {}
    for path, sheet in sheets.items():
        if sheet.study != study:
            raise UserError(f"{path} is of another study than {paths[0]}: count each study by itself")
        other = people.setdefault(sheet.participant, path)
        if other != path:
            raise UserError(f"{other} and {path} are of one person: leave the older one out")
    return Key.decoded(study), list(sheets.values())


def _read(path: Path) -> Answers:
    try:
        sheet = from_json(Answers, json.loads(path.read_bytes()))
        key = Key.decoded(sheet.study)
        if any(answer.pair >= len(key.prompts) for answer in sheet.answers):
            raise ValueError("a pair is not of the study")
        if len({(answer.pair, answer.question) for answer in sheet.answers}) < len(sheet.answers):
            raise ValueError("a question is answered twice")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} holds no answers to a study ({error}): take a file that its page saved") from error
    return sheet


@dataclass(frozen=True)
class Preference:
    """What came out for one question, of `count` answers. shares: of both arms, and of no difference.

    gain: the first arm's share less the second's. Intervals are None where one person answered, or about one prompt:
    that says nothing of others.
    """

    people: int
    prompts: int
    count: int
    shares: tuple[tuple[float, Interval | None], ...]
    gain: Interval | None

    def sentences(self, arms: Sequence[str]) -> Iterator[str]:
        """A share a line, then who is preferred."""
        for name, (share, found) in zip((*arms, "no difference"), self.shares, strict=True):
            yield f"{name}: {share:.1%}" + (f" ({found.low:.1%} to {found.high:.1%})" if found else "")
        if self.gain is None or not self.gain.enough:
            yield f"Undecided: that takes {FEWEST} people and {FEWEST} prompts, with opinions."
            return
        gain, low, high = (100 * value for value in (self.gain.mean, self.gain.low, self.gain.high))
        if low <= 0 <= high:
            by = f"{gain:+.1f} points ({low:+.1f} to {high:+.1f})"
            yield f"Undecided: the share of {arms[0]} less that of {arms[1]} is {by}."
        else:
            nearer, farther = sorted((abs(low), abs(high)))
            by = f"{abs(gain):.1f} points ({nearer:.1f} to {farther:.1f})"
            yield f"{arms[gain < 0]} is preferred: its share is larger by {by}."


def preference(key: Key, sheets: Sequence[Answers], question: str) -> Preference | None:
    """What people answered to a question; None if nobody did."""
    votes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for sheet in sheets:
        for answer in sheet.answers:
            if answer.question == question:
                votes[sheet.participant, key.prompts[answer.pair]].append(_vote(key, answer))
    if not votes:
        return None
    people, prompts = (sorted(set(names)) for names in zip(*votes, strict=True))
    shares = np.full((len(people), len(prompts), 3), np.nan)
    for (person, prompt), cast in votes.items():
        shares[people.index(person), prompts.index(prompt)] = np.bincount(cast, minlength=3) / len(cast)
    return Preference(
        people=len(people),
        prompts=len(prompts),
        count=sum(map(len, votes.values())),
        shares=tuple((float(np.nanmean(of_it)), statistics.crossed(of_it)) for of_it in np.moveaxis(shares, -1, 0)),
        gain=statistics.crossed(shares[..., 0] - shares[..., 1]),
    )


def _vote(key: Key, answer: Choice) -> int:
    """0 for the first arm, 1 for the second, 2 for no difference."""
    if answer.choice == "same":
        return 2
    return _CHOICES.index(answer.choice) ^ key.exchanged[answer.pair]


def told(key: Key, sheets: Sequence[Answers]) -> Iterator[str]:
    """What came out, in plain lines."""
    yield f"{key.arms[0]} against {key.arms[1]}, in {len(key.prompts)} pairs:"
    for question, asked in QUESTIONS.items():
        found = preference(key, sheets, question)
        if found is None:
            yield f"{asked} Nobody answered."
            continue
        people = "1 person" if found.people == 1 else f"{found.people} people"
        yield f"{asked} {found.count} answers of {people} on {found.prompts} prompts:"
        yield from (f"  {sentence}" for sentence in found.sentences(key.arms))
    yield f"In brackets: {CONFIDENCE:.0%} intervals over other people and other prompts."
