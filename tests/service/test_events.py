"""Events are numbered, and everybody sees their own."""

from backend.service.store import Store
from shared.limits import LISTED_EVENTS
from tests.service.stored import ANA, BEN, submitted


def test_events_are_numbered_and_come_in_portions(store: Store) -> None:
    numbers = [submitted(store) for _ in range(LISTED_EVENTS + 3)]
    submitted(store, BEN)
    first = store.events.after(ANA, 0)
    assert len(first) == LISTED_EVENTS
    rest = store.events.after(ANA, first[-1].seq)
    assert [event.job for event in (*first, *rest)] == [store.jobs.row(number).id for number in numbers]
    assert store.events.last(ANA) == rest[-1].seq
    assert store.events.last("c" * 40) == 0
    store.events.forget(2)
    assert [event.seq for event in store.events.after(ANA, 0)] == [rest[-1].seq]
