"""The tree of errors."""

import inspect

import pytest

from shared import errors
from shared.errors import ProtocolError, Refusal, Trouble, VersionError, refusal

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Trouble)]


def test_every_error_that_can_be_raised_has_a_remedy() -> None:
    for kind in KINDS:
        if kind not in (Trouble, Refusal):
            assert kind.usual_remedy


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, Refusal) and kind is not Refusal])
def test_refusals_cross_the_wire_by_their_code(kind: type[Refusal]) -> None:
    assert type(refusal(kind.code, "no", "")) is kind


def test_an_unknown_code_is_a_refusal_still() -> None:
    found = refusal("brand_new", "no room on Mars", "wait")
    assert isinstance(found, Refusal)
    assert str(found) == "no room on Mars; wait"


@pytest.mark.parametrize(
    ("theirs", "remedy"), [(2, "update DreamTime here"), (0, "update DreamTime on the other side")]
)
def test_the_older_side_is_told_to_update(theirs: int, remedy: str) -> None:
    error = VersionError(theirs, 1)
    assert isinstance(error, ProtocolError)
    assert error.remedy == remedy
