"""The dispatcher: every report counts once, and only that of the right attempt."""

from typing import Any

import pytest

from backend.service.dispatch import CRASHES_FORGIVEN, RETRY_SECONDS, Dispatcher
from backend.service.executor import Advanced, Crashed, Failed, Finished, Stopped
from backend.service.store import Store
from shared.errors import Storage
from shared.jobs import Generation, JobState, new_job_id
from shared.records import from_json

ANA = "a" * 40
MUG = Generation("a red mug", seed=5, steps=7)


@pytest.fixture
def dispatcher(store: Store, scripted: Any) -> Dispatcher:
    return Dispatcher(store, scripted, lambda owner: True)


def submitted(store: Store, owner: str = ANA) -> JobState:
    return store.submit(owner, [new_job_id()], MUG, [])[0]


def test_a_queued_job_is_started_with_its_request(dispatcher: Dispatcher, store: Store, scripted: Any) -> None:
    job = submitted(store)
    assert dispatcher.tick(0.0)
    (task,) = scripted.started
    assert (task.job, task.attempt, task.folder) == (str(job.number), 1, store.work_folder(job.number))
    assert from_json(Generation, task.request) == MUG
    assert store.jobs.state(ANA, job.id).state == "running"
    assert not dispatcher.tick(1.0)


def test_jobs_wait_for_a_free_device(dispatcher: Dispatcher, store: Store, scripted: Any) -> None:
    submitted(store)
    scripted.devices_free = []
    assert not dispatcher.tick(0.0)
    assert scripted.started == []


def test_progress_is_on_the_board_until_the_job_ends(
    dispatcher: Dispatcher, store: Store, scripted: Any, result_of: Any
) -> None:
    job = submitted(store)
    dispatcher.tick(0.0)
    scripted.updates = [Advanced(str(job.number), 1, "optimising", 3, 7, 400, 2.0, b"png")]
    assert not dispatcher.tick(1.0)  # no change of state
    assert [live.step for live in dispatcher.live.since(ANA, 0)[0]] == [3]
    result = result_of()
    scripted.updates = [Finished(str(job.number), 1, (result,), {})]
    assert dispatcher.tick(9.0)
    assert dispatcher.live.since(ANA, 0) == ((), b"")
    state = store.jobs.state(ANA, job.id)
    assert (state.state, state.results[0].sha256) == ("done", result.sha256)
    assert store._database.execute("SELECT seconds FROM jobs").fetchone()[0] == 9.0


@pytest.mark.parametrize(
    "update", [Advanced("{}", 1, "optimising"), Finished("{}", 1, (), {}), Failed("{}", 1, "internal", "no")]
)
def test_news_of_an_old_attempt_are_nobodys(dispatcher: Dispatcher, store: Store, scripted: Any, update: Any) -> None:
    job = submitted(store)
    dispatcher.tick(0.0)
    scripted.updates = [Crashed(str(job.number), 1, "SIGKILL", "it died")]
    dispatcher.tick(1.0)
    scripted.devices_free = ["cpu"]
    dispatcher.tick(2.0)
    scripted.updates = [type(update)(**{**vars(update), "job": str(job.number)})]
    dispatcher.tick(3.0)
    assert store.jobs.state(ANA, job.id).state == "running"
    assert store.jobs.state(ANA, job.id).attempt == 2
    assert dispatcher.live.since(ANA, 0) == ((), b"")


def test_crashes_are_forgiven_and_then_not(dispatcher: Dispatcher, store: Store, scripted: Any) -> None:
    job = submitted(store)
    for attempt in range(1, CRASHES_FORGIVEN + 2):
        scripted.devices_free = ["cpu"]
        dispatcher.tick(0.0)
        assert scripted.started[-1].attempt == attempt
        scripted.updates = [Crashed(str(job.number), attempt, "SIGSEGV", "the worker died of SIGSEGV")]
        dispatcher.tick(0.0)
    state = store.jobs.state(ANA, job.id)
    assert state.state == "failed"
    assert state.reason
    assert (state.reason.code, state.reason.sentence) == ("crashed", "the worker died of SIGSEGV")
    assert "log" in state.reason.remedy


@pytest.mark.parametrize(("code", "remedy"), [("out_of_memory", "smaller preset"), ("something_new", "log")])
def test_a_failure_says_why_and_what_to_do(
    dispatcher: Dispatcher, store: Store, scripted: Any, code: str, remedy: str
) -> None:
    job = submitted(store)
    dispatcher.tick(0.0)
    scripted.updates = [Failed(str(job.number), 1, code, "it was not to be" + "!" * 1000)]
    dispatcher.tick(0.0)
    reason = store.jobs.state(ANA, job.id).reason
    assert reason
    assert reason.code == code
    assert remedy in reason.remedy


def test_cancelling_frees_the_device(dispatcher: Dispatcher, store: Store, scripted: Any) -> None:
    job = submitted(store)
    dispatcher.tick(0.0)
    dispatcher.cancel(store.cancel(ANA, job.id))
    assert scripted.cancelled == [str(job.number)]
    assert store.jobs.state(ANA, job.id).state == "cancelling"
    scripted.updates = [Stopped(str(job.number), 1)]
    dispatcher.tick(0.0)
    assert store.jobs.state(ANA, job.id).state == "cancelled"


def test_cancelling_what_does_not_run_asks_nobody(dispatcher: Dispatcher, store: Store, scripted: Any) -> None:
    dispatcher.cancel(store.cancel(ANA, submitted(store).id))
    assert scripted.cancelled == []


def test_jobs_of_who_was_revoked_fail(store: Store, scripted: Any) -> None:
    dispatcher = Dispatcher(store, scripted, lambda owner: False)
    job = submitted(store)
    assert dispatcher.tick(0.0)
    reason = store.jobs.state(ANA, job.id).reason
    assert reason
    assert reason.code == "revoked"
    assert scripted.started == []


def test_a_report_waits_for_the_disk_and_nothing_starts_meanwhile(
    dispatcher: Dispatcher, store: Store, scripted: Any, result_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, later = submitted(store), submitted(store)
    dispatcher.tick(0.0)
    scripted.updates = [Finished(str(job.number), 1, (result_of(),), {})]
    scripted.devices_free = ["cpu"]

    def refuse(*arguments: Any) -> None:
        raise Storage("the backend's disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "finish", refuse)
        assert not dispatcher.tick(1.0)
        assert dispatcher.due() == 1.0 + RETRY_SECONDS
        assert "the backend's disk is full; make room on the backend's disk" in dispatcher.troubles()
        assert not dispatcher.tick(1.5)
        assert not dispatcher.tick(2.0)
    assert store.jobs.state(ANA, job.id).state == "running"
    assert store.jobs.state(ANA, later.id).state == "queued"
    assert dispatcher.tick(3.0)
    assert store.jobs.state(ANA, job.id).state == "done"
    assert store.jobs.state(ANA, later.id).state == "running"
    assert dispatcher.troubles() == ()
    assert dispatcher.due() is None


def test_devices_and_their_trouble_are_said(dispatcher: Dispatcher, scripted: Any) -> None:
    assert (dispatcher.devices(), dispatcher.troubles()) == (("cpu: idle",), ())
    scripted.trouble = "it does not start"
    assert (dispatcher.devices(), dispatcher.troubles()) == (("cpu: broken",), ("cpu: it does not start",))
