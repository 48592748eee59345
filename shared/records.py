"""Frozen dataclasses to and from JSON, checked field by field.

A `Record`'s fields are str, int, float, bool, other records, tuples of these, or one of them or None.
`checked(...)` ties a field to a check of its value, `required()` only says that it must be there. Unknown keys,
missing ones, other types and values out of range raise ValueError, which names the field.
"""

import dataclasses
import math
import re
import types
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Check = Callable[[Any], bool]
R = TypeVar("R", bound="Record")


@dataclasses.dataclass(frozen=True)
class Record:
    """A frozen dataclass that refuses values which its checks do not pass."""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, check in _checks(kind):
            value = getattr(self, name)
            if value is not None and not check(value):
                raise ValueError(f"{name} is {_short(value)}")


def checked(check: Check, default: Any = dataclasses.MISSING) -> Any:
    """A field whose value must pass `check`, unless it is None."""
    return dataclasses.field(default=default, metadata={"check": check})


def required() -> Any:
    """A field without a check of its own, and without a default."""
    return dataclasses.field()


def text(longest: int, shortest: int = 0) -> Check:
    return lambda value: shortest <= len(value) <= longest


def between(least: float, most: float) -> Check:
    return lambda value: least <= value <= most


def matching(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def each(check: Check, most: int, least: int = 0) -> Check:
    """For tuples: each part passes, and there are `least` to `most` of them."""
    return lambda values: least <= len(values) <= most and all(map(check, values))


def at_most(count: int) -> Check:
    """For tuples of records, which check themselves."""
    return lambda values: len(values) <= count


def to_json(record: Record) -> dict[str, Any]:
    """The record as what JSON can hold."""
    return dataclasses.asdict(record)


def from_json(kind: type[R], value: Any) -> R:
    """The record of `kind` that `value`, parsed JSON, stands for. Raises ValueError, and nothing else."""
    if not isinstance(value, dict):
        raise ValueError(f"a {kind.__name__} is {_short(value)}")
    hints, needed = _shape(cast(Any, kind))
    if unknown := value.keys() - hints.keys():
        raise ValueError(f"a {kind.__name__} has no {_short(min(unknown))}")
    if missing := needed - value.keys():
        raise ValueError(f"a {kind.__name__} lacks {min(missing)}")
    return kind(**{name: _converted(hints[name], part, name) for name, part in value.items()})


def _converted(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is tuple and type(value) is list:
        kind = get_args(hint)[0]
        return tuple(_converted(kind, part, name) for part in value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return from_json(hint, value)
    if hint is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise ValueError(f"{name} is {_short(value)}")
    return value


def _short(value: Any) -> str:
    shown = ascii(value) if not isinstance(value, dict | list | tuple) else f"a {type(value).__name__}"
    return shown if len(shown) <= 60 else shown[:57] + "..."


@cache
def _shape(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The types of a record's fields, and which of these have no default."""
    fields = dataclasses.fields(kind)
    hints = get_type_hints(kind)
    needed = frozenset(field.name for field in fields if field.default is dataclasses.MISSING)
    return {field.name: hints[field.name] for field in fields}, needed


@cache
def _checks(kind: Any) -> tuple[tuple[str, Check], ...]:
    return tuple((field.name, field.metadata["check"]) for field in dataclasses.fields(kind) if field.metadata)
