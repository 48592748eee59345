"""Jobs in every order of events, against a model that is a dictionary of states."""

import hashlib
import struct
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from backend.service.dispatch import CRASHES_FORGIVEN, Dispatcher
from backend.service.executor import Crashed, Device, Failed, Finished, Result, Stopped, Task
from backend.service.hub import Hub
from backend.service.store import Store
from shared.inputs import Start
from shared.jobs import Generation, new_job_id
from shared.messages import Cancel, Delete, GetEvents, GetList, GetState, Jobs, Message, News, Submit, Upload
from shared.offer import Offer
from shared.states import FINAL, State

OWNERS = ("a" * 40, "b" * 40)
DIGEST = "ab" * 32
MESH = struct.pack("<4sIII", b"DTM1", 3, 1, 0) + bytes(48)
START = Start("mesh", hashlib.sha256(MESH).hexdigest(), "Suzanne")


class OneDevice:
    """An executor with one device, whose task ends as a rule of the machine says."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.cancelled = False
        self.updates: list[Any] = []

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "busy" if self.task else "idle"),)

    def free(self) -> tuple[str, ...]:
        return () if self.task else ("cpu",)

    def models(self, device: str) -> None:
        pass

    def start(self, device: str, task: Task) -> None:
        assert self.task is None
        self.task, self.cancelled = task, False

    def cancel(self, job: str) -> None:
        assert self.task
        assert self.task.job == job
        self.cancelled = True

    def poll(self, now: float) -> list[Any]:
        found, self.updates = self.updates, []
        return found

    def end(self, update: Any) -> None:
        self.updates.append(update)
        self.task = None

    def fileno(self) -> int:
        return -1

    def facts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Life(RuleBasedStateMachine):
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.now = 0.0
        self.model: dict[tuple[str, str], State] = {}
        self.crashes: dict[tuple[str, str], int] = {}
        self.uploaded = dict.fromkeys(OWNERS, 0)
        self.started_from: set[tuple[str, str]] = set()
        self.open()

    def open(self) -> None:
        self.executor = OneDevice()
        self.store = Store(Path(self.home.name), lambda: self.now)
        self.store.recover()
        dispatcher = Dispatcher(self.store, self.executor, lambda owner: True)
        self.hub = Hub(
            self.store,
            dispatcher,
            lambda: Offer((), (), (), ()),
            lambda request: [],
            lambda sha256: None,
            lambda: self.now,
            "1",
        )

    def teardown(self) -> None:
        self.store.close()
        self.home.cleanup()

    def ask(self, owner: str, message: Message) -> Any:
        self.now += 1.0
        (reply,) = self.hub.handle(b"peer", owner, 1, message, self.now)
        return reply.message

    def current(self) -> tuple[str, str]:
        assert self.executor.task
        row = self.store.jobs.row(int(self.executor.task.job))
        return row.owner, row.id

    def end(self, kind: type, **facts: Any) -> tuple[tuple[str, str], State]:
        """Let the running task end; which job it was, and the state that the model has it in."""
        job, task = self.current(), self.executor.task
        assert task
        self.executor.end(kind(task.job, task.attempt, **facts))
        return job, self.model[job]

    @rule(target=jobs, owner=st.sampled_from(OWNERS))
    def submit(self, owner: str) -> tuple[str, str]:
        job = owner, new_job_id()
        assert isinstance(self.ask(owner, Submit((job[1],), Generation("a mug"))), Jobs)
        self.model[job], self.crashes[job] = State.QUEUED, 0
        return job

    @rule(owner=st.sampled_from(OWNERS), part=st.integers(0, 3))
    def upload(self, owner: str, part: int) -> None:
        """A chunk of the artist's input comes, in any order, and more than once."""
        chunk = Upload("mesh", START.sha256, len(MESH), 20 * part, MESH[20 * part : 20 * part + 20])
        held = self.ask(owner, chunk)
        there = self.uploaded[owner]
        self.uploaded[owner] = min(max(there, 20 * part + 20), len(MESH)) if 20 * part <= there else there
        assert held.there == self.uploaded[owner]

    @rule(target=jobs, owner=st.sampled_from(OWNERS))
    def submit_with_a_start(self, owner: str) -> Any:
        job = owner, new_job_id()
        answer = self.ask(owner, Submit((job[1],), Generation("a mug", start=START)))
        if self.uploaded[owner] < len(MESH):
            assert answer.code == "unknown_input"
            return multiple()
        self.model[job], self.crashes[job] = State.QUEUED, 0
        self.started_from.add(job)
        return job

    @rule(job=jobs)
    def submit_again(self, job: tuple[str, str]) -> None:
        request = Generation("a mug", start=START if job in self.started_from else None)
        answer = self.ask(job[0], Submit((job[1],), request))
        assert answer.jobs[0].state == self.model[job]

    @rule(job=jobs)
    def cancel(self, job: tuple[str, str]) -> None:
        self.ask(job[0], Cancel(job[1]))
        if self.model[job] == State.QUEUED:
            self.model[job] = State.CANCELLED
        elif self.model[job] == State.RUNNING:
            self.model[job] = State.CANCELLING
            assert self.executor.cancelled

    @rule(job=jobs)
    def delete(self, job: tuple[str, str]) -> None:
        answer = self.ask(job[0], Delete(job[1]))
        if self.model[job] in FINAL:
            self.model[job] = State.DELETED
        else:
            assert answer.code == "not_finished"

    @rule()
    def tick(self) -> None:
        waiting = [job for job, state in self.model.items() if state == State.QUEUED]
        self.hub.tick(self.now)
        if self.executor.task and self.current() in waiting:
            self.model[self.current()] = State.RUNNING

    @precondition(lambda self: self.executor.task)
    @rule()
    def finish(self) -> None:
        path = Path(self.home.name) / "result"
        path.write_bytes(b"mesh")
        job, state = self.end(Finished, results=(Result("mesh.glb", path, DIGEST, 4),), report={})
        self.model[job] = State.CANCELLED if state == State.CANCELLING else State.DONE
        self.tick()

    @precondition(lambda self: self.executor.task)
    @rule()
    def fail(self) -> None:
        job, state = self.end(Failed, code="internal", sentence="no")
        self.model[job] = State.CANCELLED if state == State.CANCELLING else State.FAILED
        self.tick()

    @precondition(lambda self: self.executor.task and self.executor.cancelled)
    @rule()
    def stop(self) -> None:
        job, _ = self.end(Stopped)
        self.model[job] = State.CANCELLED
        self.tick()

    @precondition(lambda self: self.executor.task)
    @rule()
    def crash(self) -> None:
        job, state = self.end(Crashed, reason="SIGKILL", sentence="it died")
        self.crashes[job] += 1
        if state == State.CANCELLING:
            self.model[job] = State.CANCELLED
        else:
            self.model[job] = State.FAILED if self.crashes[job] > CRASHES_FORGIVEN else State.QUEUED
        self.tick()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()
        after = {State.RUNNING: State.QUEUED, State.CANCELLING: State.CANCELLED}
        self.model = {job: after.get(state, state) for job, state in self.model.items()}

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        for (owner, job), state in self.model.items():
            assert self.store.jobs.state(owner, job).state == state

    @invariant()
    def the_log_tells_the_same_and_each_job_is_done_once(self) -> None:
        for owner in OWNERS:
            told: dict[str, list[str]] = {}
            cursor = 0
            while (news := self.ask(owner, GetEvents(cursor, 0, 0.0))).events:
                assert isinstance(news, News)
                for event in news.events:
                    told.setdefault(event.job, []).append(event.state)
                cursor = news.cursor
            mine = {job: state for (who, job), state in self.model.items() if who == owner}
            assert {job: states[-1] for job, states in told.items()} == mine
            assert all(states.count(State.DONE) <= 1 for states in told.values())

    @invariant()
    def lists_and_files_agree(self) -> None:
        kept = [job for job, state in self.model.items() if state == State.DONE]
        assert (Path(self.home.name) / "assets" / DIGEST).exists() == bool(kept)
        for owner in OWNERS:
            listed = {job.id for job in self.ask(owner, GetList()).jobs}
            assert listed == {
                job for (who, job), state in self.model.items() if who == owner and state != State.DELETED
            }

    @rule(job=jobs)
    def others_see_nothing(self, job: tuple[str, str]) -> None:
        other = next(owner for owner in OWNERS if owner != job[0])
        assert self.ask(other, GetState(job[1])).code == "unknown_job"


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
