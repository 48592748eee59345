"""Records and JSON."""

from dataclasses import dataclass
from typing import Any

import pytest

from shared.records import Record, at_most, between, checked, each, from_json, matching, text, to_json


@dataclass(frozen=True)
class Part(Record):
    size: int = checked(between(0, 9))


@dataclass(frozen=True)
class Whole(Record):
    name: str = checked(text(5, 1))
    ratio: float = 0.5
    sure: bool = False
    letters: tuple[str, ...] = checked(each(matching("[a-z]"), 3, 1), ("a",))
    parts: tuple[Part, ...] = checked(at_most(2), ())
    best: Part | None = None
    count: int | None = checked(between(1, 3), None)


FULL = Whole("abc", 1.5, True, ("x", "y"), (Part(1), Part(2)), Part(3), 2)


def test_a_record_comes_back_equal() -> None:
    assert from_json(Whole, _listed(to_json(FULL))) == FULL


def test_what_has_a_default_may_be_left_out() -> None:
    assert from_json(Whole, {"name": "x"}) == Whole("x")


def test_a_whole_number_is_a_float_where_one_is_wanted() -> None:
    found = from_json(Whole, {"name": "x", "ratio": 2})
    assert found.ratio == 2.0
    assert type(found.ratio) is float


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": "abcdef"}, "name is 'abcdef'"),
        ({"name": 7}, "name is 7"),
        ({"name": "x" * 500}, r"name is 'x{56}\.\.\."),
        ({"name": None}, "name is None"),
        ({"ratio": "1"}, "ratio is '1'"),
        ({"ratio": True}, "ratio is True"),
        ({"ratio": 2**60}, "ratio is"),
        ({"ratio": float("nan")}, "ratio is nan"),
        ({"ratio": float("inf")}, "ratio is inf"),
        ({"sure": 1}, "sure is 1"),
        ({"sure": None}, "sure is None"),
        ({"letters": []}, "letters is a tuple"),
        ({"letters": ["a", "b", "c", "d"]}, "letters is a tuple"),
        ({"letters": ["A"]}, "letters is a tuple"),
        ({"letters": "a"}, "letters is 'a'"),
        ({"letters": {"a": 1}}, "letters is a dict"),
        ({"parts": [{"size": 1}] * 3}, "parts is a tuple"),
        ({"parts": [1]}, "a Part is 1"),
        ({"best": {"size": 10}}, "size is 10"),
        ({"best": {}}, "a Part lacks size"),
        ({"best": {"size": 1.0}}, "size is 1.0"),
        ({"count": True}, "count is True"),
        ({"count": 4}, "count is 4"),
        ({"extra": 1}, "a Whole has no 'extra'"),
    ],
)
def test_other_values_are_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        from_json(Whole, {**_listed(to_json(FULL)), **change})


def test_what_is_made_here_is_checked_alike() -> None:
    with pytest.raises(ValueError, match="size is 10"):
        Part(10)


def _listed(value: Any) -> Any:
    """What JSON makes of it: lists for tuples."""
    if isinstance(value, dict):
        return {key: _listed(part) for key, part in value.items()}
    return [_listed(part) for part in value] if isinstance(value, tuple) else value
