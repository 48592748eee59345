"""The table of states."""

import contextlib
import itertools

import pytest

from shared.states import FINAL, Change, IllegalChange, State, after


def legal() -> dict[tuple[State, Change], State]:
    found = {}
    for state, change in itertools.product(State, Change):
        with contextlib.suppress(IllegalChange):
            found[state, change] = after(state, change)
    return found


def test_a_job_goes_through_its_life() -> None:
    state = State.QUEUED
    for change in (Change.START, Change.INTERRUPT, Change.START, Change.FINISH, Change.DELETE):
        state = after(state, change)
    assert state == State.DELETED


def test_what_is_final_is_never_computed_again() -> None:
    assert all(later in FINAL for (state, _), later in legal().items() if state in FINAL)


def test_cancelling_ends_in_cancelled_whatever_happens() -> None:
    ends = {
        later for (state, change), later in legal().items() if state == State.CANCELLING and change != Change.CANCEL
    }
    assert ends == {State.CANCELLED}


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_reached_and_cancelled(state: State) -> None:
    assert state == State.QUEUED or state in legal().values()
    assert (state, Change.CANCEL) in legal()


@pytest.mark.parametrize("state", FINAL - {State.DELETED})
def test_cancelling_what_is_finished_changes_nothing(state: State) -> None:
    assert after(state, Change.CANCEL) == state


def test_only_what_is_finished_can_be_deleted() -> None:
    assert {state for (state, change) in legal() if change == Change.DELETE} == FINAL


def test_an_illegal_change_is_named() -> None:
    with pytest.raises(IllegalChange, match="a job that is done cannot start") as caught:
        after(State.DONE, Change.START)
    assert (caught.value.state, caught.value.change) == (State.DONE, Change.START)
