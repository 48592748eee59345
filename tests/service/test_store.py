"""The store: what was accepted stays, and files and rows belong together."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.service import database
from backend.service.results import FOLDER as ASSETS
from backend.service.results import Results
from backend.service.store import DATABASE, WORK, Store
from shared.errors import Conflict, NotFinished, Storage, TooMuch, UnknownJob
from shared.inputs import Start
from shared.jobs import Reason, new_job_id
from shared.limits import JOBS_UNFINISHED, SEEDS
from shared.states import IllegalChange, State
from tests.service.stored import ANA, BEN, MUG, submitted

WHY = Reason("internal", "it broke", "try again")


def done(store: Store, results: list[Any], owner: str = ANA) -> int:
    number = submitted(store, owner)
    store.start(number)
    store.finish(number, results, 1.0)
    return number


def test_what_was_accepted_is_there_after_a_start(tmp_path: Path, clock: Any) -> None:
    ids = [new_job_id(), new_job_id()]
    store = Store(tmp_path, clock)
    before = store.submit(ANA, ids, MUG, ["a warning"])
    store.close()
    store = Store(tmp_path, clock)
    assert [store.jobs.state(ANA, id) for id in ids] == before
    assert [job.request.seed for job in before] == [5, 6]
    assert {job.batch for job in before} == {ids[0]}
    assert [job.ahead for job in before] == [0, 1]
    assert before[0].warnings == ("a warning",)
    store.close()


def test_it_is_on_the_disk_before_the_answer(store: Store) -> None:
    number = submitted(store)
    with sqlite3.connect(store.folder / DATABASE) as other:
        assert other.execute("SELECT number FROM jobs").fetchall() == [(number,)]
    other.close()
    assert store._database.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_asking_twice_is_asking_once(store: Store) -> None:
    ids = [new_job_id(), new_job_id()]
    first = store.submit(ANA, ids, MUG, [])
    store.start(first[0].number)
    again = store.submit(ANA, ids, MUG, [])
    assert [job.number for job in again] == [job.number for job in first]
    assert again[0].state == State.RUNNING
    assert len(store.events.after(ANA, 0)) == 3


def test_part_of_a_request_that_is_there_is_completed(store: Store) -> None:
    ids = [new_job_id(), new_job_id()]
    first = store.submit(ANA, ids[:1], MUG, [])
    assert store.submit(ANA, ids, MUG, [])[0] == first[0]


def test_an_id_stands_for_one_request(store: Store) -> None:
    ids = [new_job_id(), new_job_id()]
    store.submit(ANA, ids[1:], MUG, [])
    with pytest.raises(Conflict):
        store.submit(ANA, ids, replace(MUG, prompt="a blue mug"), [])
    with pytest.raises(UnknownJob):  # all or none
        store.jobs.state(ANA, ids[0])


def test_two_artists_may_use_one_id_and_see_their_own(store: Store, result_of: Any) -> None:
    id = new_job_id()
    store.submit(ANA, [id], MUG, [])
    store.submit(BEN, [id], replace(MUG, prompt="a blue mug"), [])
    assert store.jobs.state(BEN, id).request.prompt == "a blue mug"
    assert [job.request.prompt for job in store.jobs.listed(ANA, None)] == ["a red mug"]
    assert [event.job for event in store.events.after(BEN, 0)] == [id]
    result = result_of()
    done(store, [result], ANA)
    assert store.results.find(ANA, result.sha256) is not None
    assert store.results.find(BEN, result.sha256) is None


def test_seeds_of_variations_stay_seeds(store: Store) -> None:
    jobs = store.submit(ANA, [new_job_id(), new_job_id()], replace(MUG, seed=SEEDS - 1), [])
    assert [job.request.seed for job in jobs] == [SEEDS - 1, 0]


@pytest.mark.parametrize(("there", "more", "fits"), [(-1, 1, True), (0, 1, False), (-1, 2, False)])
def test_unfinished_jobs_have_a_limit(store: Store, there: int, more: int, fits: bool) -> None:
    with store.change():
        for _ in range(JOBS_UNFINISHED + there):
            store._database.execute(
                "INSERT INTO jobs (owner, id, batch, request, warnings, state, created)"
                " VALUES (?, ?, '', '{}', '[]', ?, 0)",
                (ANA, new_job_id(), "queued"),
            )
    ids = [new_job_id() for _ in range(more)]
    if fits:
        assert len(store.submit(ANA, ids, MUG, [])) == more
    else:
        with pytest.raises(TooMuch):
            store.submit(ANA, ids, MUG, [])
    store.submit(BEN, [new_job_id()], MUG, [])  # others are not concerned


def test_a_job_is_done_with_its_files(store: Store, clock: Any, result_of: Any) -> None:
    number = submitted(store)
    row = store.start(number)
    assert (row.state, row.attempt) == (State.RUNNING, 1)
    store.work_folder(number).mkdir(parents=True)
    clock.now += 60
    result = result_of(b"a mesh")
    assert store.finish(number, [result], 60.0).state == State.DONE
    state = store.jobs.state(ANA, row.id)
    assert [(asset.name, asset.sha256, asset.size) for asset in state.results] == [("mesh.glb", result.sha256, 6)]
    assert state.finished == clock.now
    path, size = store.results.find(ANA, result.sha256) or (Path(), 0)
    assert (path.read_bytes(), size) == (b"a mesh", 6)
    assert not store.work_folder(number).exists()
    assert store.jobs.durations() == [("builtin", "standard", 60.0)]


def test_two_jobs_may_share_a_file(store: Store, result_of: Any) -> None:
    first = done(store, [result_of(b"same")])
    result = result_of(b"same")
    second = done(store, [result])
    store.results.drop([first])
    assert store.results.find(ANA, result.sha256) is not None
    assert (store.folder / ASSETS / result.sha256).exists()
    store.results.drop([second])
    assert not (store.folder / ASSETS / result.sha256).exists()


def test_results_of_a_cancelled_job_are_not_kept(store: Store, result_of: Any) -> None:
    number = submitted(store)
    row = store.start(number)
    assert store.cancel(ANA, row.id).state == State.CANCELLING
    assert store.finish(number, [result_of()], 1.0).state == State.CANCELLED
    assert store.jobs.state(ANA, row.id).results == ()
    assert list((store.folder / ASSETS).iterdir()) == []


def test_how_a_job_went_is_told_with_its_warnings(store: Store) -> None:
    (job,) = store.submit(ANA, [new_job_id()], MUG, ["shiny has no effect"])
    number = job.number
    store.start(number)
    store.finish(number, [], 1.0, ["memory ran out", 'of "views"'])
    assert store.jobs.state(ANA, job.id).warnings == ("shiny has no effect", "memory ran out", 'of "views"')


def test_finishing_can_be_tried_again(store: Store, result_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    number = submitted(store)
    store.start(number)
    results = [result_of(b"one", "one"), result_of(b"two", "two")]
    taken = 0

    def take(self: Results, result: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == 2:
            raise OSError(28, "No space left on device")
        original(self, result)

    original = Results._take
    monkeypatch.setattr(Results, "_take", take)
    with pytest.raises(Storage, match="full"):
        store.finish(number, results, 1.0)
    assert store.jobs.row(number).state == State.RUNNING
    assert store.finish(number, results, 1.0).state == State.DONE
    assert all(path.read_bytes() in (b"one", b"two") for path in (store.folder / ASSETS).iterdir())


def submit_many(store: Store) -> None:
    for _ in range(1000):
        submitted(store)


def test_a_database_that_cannot_grow_is_said_and_nothing_has_changed(store: Store) -> None:
    number = submitted(store)
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Storage, match="full"):
        submit_many(store)
    before = [job.number for job in store.jobs.listed(ANA, None)]
    store._database.execute("PRAGMA max_page_count = 1000000")
    assert submitted(store) == before[0] + 1
    assert store.jobs.row(number).state == State.QUEUED


def test_what_ran_waits_again_after_a_start(tmp_path: Path, clock: Any) -> None:
    store = Store(tmp_path, clock)
    running, cancelling, queued = (submitted(store) for _ in range(3))
    for number in (running, cancelling):
        store.start(number)
    store.cancel(ANA, store.jobs.row(cancelling).id)
    for number in (running, cancelling):
        store.work_folder(number).mkdir()
    stray = tmp_path / ASSETS / ("0" * 64)
    stray.write_bytes(b"of a job that was not finished")
    store.close()
    store = Store(tmp_path, clock)
    store.recover()
    assert [store.jobs.row(number).state for number in (running, cancelling, queued)] == [
        "queued",
        "cancelled",
        "queued",
    ]
    assert store.jobs.row(running).crashes == 0
    assert store.work_folder(running).exists()
    assert not store.work_folder(cancelling).exists()
    assert not stray.exists()
    store.close()


def test_a_failure_keeps_its_reason(store: Store) -> None:
    number = submitted(store)
    row = store.start(number)
    store.fail(number, WHY)
    assert store.jobs.state(ANA, row.id).reason == WHY
    with pytest.raises(IllegalChange):
        store.finish(number, [], 1.0)


def test_interrupts_are_counted(store: Store) -> None:
    number = submitted(store)
    for count in (1, 2):
        store.start(number)
        assert store.interrupt(number).state == State.QUEUED
        assert store.jobs.row(number).crashes == count
    assert store.jobs.row(number).attempt == 2


def test_deleting_leaves_only_the_id(store: Store, result_of: Any) -> None:
    result = result_of()
    number = done(store, [result])
    id = store.jobs.row(number).id
    store.delete(ANA, id)
    assert list(store.jobs.listed(ANA, None)) == []
    assert store.jobs.state(ANA, id).state == State.DELETED
    assert not (store.folder / ASSETS / result.sha256).exists()
    assert b"red mug" not in _everything(store)
    store.delete(ANA, id)
    assert store.submit(ANA, [id], MUG, [])[0].state == State.DELETED  # a request that was late does not make it anew


def test_only_what_is_finished_is_deleted(store: Store) -> None:
    number = submitted(store)
    with pytest.raises(NotFinished, match="queued"):
        store.delete(ANA, store.jobs.row(number).id)


def test_unknown_jobs_are_refused(store: Store) -> None:
    number = submitted(store)
    for ask in (store.jobs.state, store.cancel, store.acknowledge, store.delete):
        with pytest.raises(UnknownJob):
            ask(BEN, store.jobs.row(number).id)


def test_acknowledging_is_remembered(store: Store, result_of: Any) -> None:
    number = done(store, [result_of()])
    id = store.jobs.row(number).id
    store.acknowledge(ANA, id)
    assert store.jobs.state(ANA, id).acknowledged


# --- opening ---


def test_a_second_server_is_refused(store: Store, clock: Any) -> None:
    with pytest.raises(UserError, match="another backend uses"):
        Store(store.folder, clock)


def test_the_lock_ends_with_its_process(tmp_path: Path, clock: Any) -> None:
    code = f"""
import os
from pathlib import Path
from backend.service.store import Store
Store(Path({str(tmp_path)!r}), lambda: 0.0)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    Store(tmp_path, clock).close()


def test_a_newer_schema_is_refused(tmp_path: Path, clock: Any) -> None:
    Store(tmp_path, clock).close()
    other = sqlite3.connect(tmp_path / DATABASE)
    other.execute(f"PRAGMA user_version = {database.SCHEMA + 1}")
    other.close()
    with pytest.raises(UserError, match="newer DreamTime"):
        Store(tmp_path, clock)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_refused_and_left_alone(tmp_path: Path, clock: Any, content: bytes) -> None:
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(UserError, match="cannot use"):
        Store(tmp_path, clock)
    assert (tmp_path / DATABASE).read_bytes() == content


def test_a_folder_that_is_none_is_refused(tmp_path: Path, clock: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Store(tmp_path / "file", clock)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no modes")
def test_the_folder_is_its_owners(store: Store) -> None:
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_a_database_that_is_a_folder_is_refused(tmp_path: Path, clock: Any) -> None:
    (tmp_path / DATABASE).mkdir(parents=True)
    with pytest.raises(UserError, match="cannot"):
        Store(tmp_path, clock)


def _everything(store: Store) -> bytes:
    """The rows of the jobs as they would be dumped."""
    return "\n".join(store._database.iterdump()).encode()


def test_work_folders_lie_in_the_store(store: Store) -> None:
    assert store.work_folder(7) == store.folder / WORK / "7"


def test_a_folder_that_vanishes_while_it_is_opened_is_the_disks_fault(store: Store) -> None:
    (store.folder / ASSETS).rmdir()
    with pytest.raises(Storage, match="cannot write its folder"):
        store.recover()


def test_a_full_disk_is_called_so() -> None:
    with closing(sqlite3.connect(":memory:")) as small:
        small.execute("PRAGMA max_page_count = 2")
        small.execute("CREATE TABLE jobs (request BLOB)")
        with pytest.raises(Storage) as refusal, database.storage():
            small.execute("INSERT INTO jobs VALUES (zeroblob(100000))")
    assert refusal.value.sentence == "the backend's disk is full"


_TO_SECOND = "DROP INDEX jobs_waiting; ALTER TABLE jobs DROP COLUMN model; PRAGMA user_version = 2;"
_TO_FIRST = _TO_SECOND + "DROP VIEW needed_inputs; DROP TABLE inputs; PRAGMA user_version = 1;"


@pytest.mark.parametrize("steps_back", [_TO_SECOND, _TO_FIRST])
def test_a_folder_of_a_schema_before_is_taken_over(tmp_path: Path, clock: Any, steps_back: str) -> None:
    store = Store(tmp_path, clock)
    number = submitted(store)
    store._database.executescript(steps_back)
    store.close()
    store = Store(tmp_path, clock)
    assert store.jobs.row(number).request == MUG
    assert store.jobs.next_queued({MUG.model}) == store.jobs.row(number)
    assert store.inputs.path(ANA, Start("mesh", "ab" * 32, "Suzanne")) is None
    store.close()


def test_a_job_that_is_given_back_waits_with_its_files_and_no_crash_is_counted(store: Store) -> None:
    number = submitted(store)
    store.start(number)
    store.work_folder(number).mkdir()
    row = store.give_back(number)
    assert (row.state, row.crashes) == ("queued", 0)
    assert store.work_folder(number).is_dir()
