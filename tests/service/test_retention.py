"""Retention: what goes, and when."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.service.results import Kept
from backend.service.retention import SWEEP_SECONDS, Retention, outdated
from backend.service.store import Store
from shared.errors import Storage
from shared.jobs import Generation, new_job_id

DAY = 24 * 3600.0
ANA = "a" * 40


@pytest.mark.parametrize(
    ("size", "gone"),
    [
        (100, []),
        (40, []),
        (39, [2]),  # fetched, and the older of those
        (30, [2]),
        (29, [2, 4]),
        (19, [2, 4, 1]),
        (0, [2, 4, 1, 3]),
    ],
)
def test_too_many_bytes_cost_fetched_results_first(size: int, gone: list[int]) -> None:
    kept = [Kept(1, False, 1.0, 10), Kept(2, True, 2.0, 10), Kept(3, False, 3.0, 10), Kept(4, True, 4.0, 10)]
    assert outdated(kept, 10.0, 100.0, size) == gone


def test_what_is_old_goes_whether_fetched_or_not() -> None:
    kept = [Kept(1, False, 1.0, 10), Kept(2, True, 5.0, 10)]
    assert outdated(kept, 10.0, 9.0, 100) == []
    assert outdated(kept, 10.1, 9.0, 100) == [1]
    assert outdated(kept, 20.0, 9.0, 100) == [1, 2]


def finish(store: Store, result_of: Callable[..., Any], content: bytes) -> str:
    job = store.submit(ANA, [new_job_id()], Generation("a mug"), [])[0]
    store.start(job.number)
    store.finish(job.number, [result_of(content)], 1.0)
    return job.id


def has_results(store: Store, id: str) -> bool:
    return bool(store.jobs.state(ANA, id).results)


def test_results_are_kept_for_a_while(store: Store, clock: Any, result_of: Any) -> None:
    id = finish(store, result_of, b"one")
    retention = Retention(store, clock, seconds=DAY)
    for now, there in [(0.0, True), (1.0, True), (DAY, True), (DAY + SWEEP_SECONDS, False)]:
        retention.tick(now)
        assert has_results(store, id) == there
    assert store.jobs.state(ANA, id).state == "done"


@pytest.mark.parametrize("jump", [10_000 * DAY, -10_000 * DAY])
def test_a_clock_that_jumps_removes_nothing(store: Store, clock: Any, result_of: Any, jump: float) -> None:
    id = finish(store, result_of, b"one")
    retention = Retention(store, clock, seconds=30 * DAY)
    retention.tick(0.0)
    clock.now += jump
    retention.tick(SWEEP_SECONDS)
    assert has_results(store, id)
    Retention(store, clock, seconds=30 * DAY).tick(0.0)  # the next start
    assert has_results(store, id)


def test_pauses_between_starts_count_up_to_a_week(store: Store, clock: Any, result_of: Any) -> None:
    id = finish(store, result_of, b"one")
    for day in range(0, 35, 5):
        Retention(store, clock, seconds=30 * DAY).tick(0.0)
        assert has_results(store, id) == (day <= 30)
        clock.now += 5 * DAY


def test_a_full_disk_is_tried_again_later(
    store: Store, clock: Any, result_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    id = finish(store, result_of, b"one")
    retention = Retention(store, clock, seconds=-1.0)

    def refuse(numbers: list[int]) -> None:
        raise Storage("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store.results, "drop", refuse)
        retention.tick(0.0)
    assert has_results(store, id)
    retention.tick(SWEEP_SECONDS)
    assert not has_results(store, id)
