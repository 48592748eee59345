"""Jobs as they stand on disk: whose turn it is, and what is listed."""

from dataclasses import replace
from typing import Any

from backend.service.store import Store
from tests.service.stored import ANA, BEN, MUG, submitted


def test_turns_go_round_between_artists(store: Store) -> None:
    numbers = [submitted(store, ANA) for _ in range(4)] + [submitted(store, BEN) for _ in range(2)]
    order = []
    while row := store.jobs.next_queued():
        order.append(row.number)
        store.start(row.number)
    assert order == [numbers[at] for at in (0, 4, 1, 5, 2, 3)]


def test_a_clock_that_jumps_does_not_change_turns(store: Store, clock: Any) -> None:
    numbers = [submitted(store, ANA), submitted(store, ANA), submitted(store, BEN), submitted(store, BEN)]
    order = []
    for jump in (1e6, -3e6, 1.0, 1.0):
        clock.now += jump
        row = store.jobs.next_queued()
        assert row
        order.append(row.number)
        store.start(row.number)
    assert order == [numbers[at] for at in (0, 2, 1, 3)]


def test_jobs_are_listed_newest_first_in_pages(store: Store) -> None:
    numbers = [submitted(store) for _ in range(5)]
    assert [job.number for job in store.jobs.listed(ANA, None)] == numbers[::-1]
    assert [job.number for job in store.jobs.listed(ANA, numbers[2])] == numbers[1::-1]


def test_a_machine_is_given_only_jobs_with_models_that_it_has(store: Store) -> None:
    corgi, mug = submitted(store, request=replace(MUG, model="corgis")), submitted(store)
    assert store.jobs.models_awaited() == {"corgis", "builtin"}
    for models, expected in ((None, corgi), ({"corgis", "builtin"}, corgi), ({"builtin"}, mug), ({"other"}, None)):
        found = store.jobs.next_queued(models)
        assert (found and found.number) == expected
    assert store.jobs.next_queued(set()) is None
