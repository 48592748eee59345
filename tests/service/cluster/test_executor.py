"""The devices of a cluster as the server has them, with a bridge that pretends."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backend.guidance.library import ModelSource
from backend.service.child import Child, Gone, Ready
from backend.service.cluster.executor import (
    JOIN_SECONDS,
    News,
    Posted,
    RayExecutor,
    Trouble,
    Withdrawn,
    understood,
)
from backend.service.dispatch import AT_ONCE, Dispatcher
from backend.service.executor import Crashed, Executor, Failed, Finished, Lost, Stopped, Task
from backend.service.pipe import Message, PipeError
from backend.service.store import Store
from shared.jobs import Generation, new_job_id
from tests.service.cluster.pretending import until

OURS = ModelSource("corgis", "a folder", Path("corgis"), "sha256:12", "unknown", 5)
BUILTIN = replace(OURS, name="builtin", revision="sha256:ab")
HAS_BOTH = frozenset({("builtin", "sha256:ab"), ("corgis", "sha256:12")})


class Pretended(Child[News]):
    """Notes what is asked of it, and has the news that a test puts there."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.news: list[Any] = []
        self.killed = self.closed = False

    def send(self, command: dict[str, Any]) -> None:
        self.asked.append(command)

    def take(self) -> list[Any]:
        news, self.news = self.news, []
        return news

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        self.closed = True

    def last_words(self) -> str:
        return "no route to host"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.executor = RayExecutor("cpu", folder, ("none",), lambda: [BUILTIN, OURS])
        self.bridges: list[Pretended] = []
        self.executor._begin = self._begin  # type: ignore[assignment]
        self.poll(0.0)

    def _begin(self) -> Child[News]:
        self.bridges.append(Pretended())
        return self.bridges[-1]

    def poll(self, now: float, *news: News | Gone) -> list[Any]:
        if self.bridges:
            self.bridges[-1].news += news
        return self.executor.poll(now)


def posted(name: str, state: Any = "idle", pace: float = 0.1, models: Any = HAS_BOTH, trouble: str = "") -> Posted:
    return Posted(name, state, trouble, models, {"seconds_per_step": pace})


def task(job: str = "7", attempt: int = 1) -> Task:
    return Task(job, attempt, {"prompt": "a red mug"}, Path("folder"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.executor.close()


def test_it_is_an_executor_that_joins_by_itself(bench: Bench) -> None:
    assert isinstance(bench.executor, Executor)
    assert [(one.name, one.state, one.trouble) for one in bench.executor.devices()] == [("cluster", "starting", "")]
    bench.poll(1.0, Ready({}))
    assert "no machine lends a device" in bench.executor.devices()[0].trouble
    bench.poll(2.0, posted("ws1/cuda", "starting"), posted("ws2/cuda"))
    assert [(one.name, one.state) for one in bench.executor.devices()] == [
        ("ws1/cuda", "starting"),
        ("ws2/cuda", "idle"),
    ]
    bench.poll(3.0, Withdrawn("ws1/cuda"))
    assert [one.name for one in bench.executor.devices()] == ["ws2/cuda"]


def test_the_fastest_free_device_comes_first(bench: Bench) -> None:
    bench.poll(0.0, Ready({}), posted("slow", pace=0.9), posted("fast", pace=0.1), posted("fair", pace=0.5))
    assert bench.executor.free() == ("fast", "fair", "slow")
    assert bench.executor.facts() == {"seconds_per_step": 0.1}


def test_a_device_is_busy_until_its_task_has_ended_whatever_it_says(bench: Bench) -> None:
    bench.poll(0.0, Ready({}), posted("ws1/cpu"))
    bench.executor.start("ws1/cpu", task())
    assert bench.bridges[0].asked[0]["do"] == "start"
    assert bench.poll(1.0, posted("ws1/cpu", "idle")) == []
    assert (bench.executor.free(), bench.executor.devices()[0].state) == ((), "busy")
    with pytest.raises(ValueError, match="not free"):
        bench.executor.start("ws1/cpu", task("8"))
    assert bench.poll(2.0, Stopped("7", 1)) == [Stopped("7", 1)]
    assert bench.executor.free() == ("ws1/cpu",)


def test_only_what_runs_is_cancelled(bench: Bench) -> None:
    bench.poll(0.0, Ready({}), posted("ws1/cpu"))
    bench.executor.start("ws1/cpu", task())
    bench.executor.cancel("8")
    bench.executor.cancel("7")
    assert [one["job"] for one in bench.bridges[0].asked if one["do"] == "cancel"] == ["7"]


def test_a_machine_has_the_models_whose_content_is_the_same(bench: Bench) -> None:
    changed = frozenset({("builtin", "sha256:ab"), ("corgis", "sha256:changed"), ("theirs", "sha256:12")})
    bench.poll(0.0, Ready({}), posted("ws1/cpu"), posted("ws2/cpu", models=changed))
    assert bench.executor.models("ws1/cpu") == {"builtin", "corgis"}
    assert bench.executor.models("ws2/cpu") == {"builtin"}
    assert bench.executor.models("ws3/cpu") == frozenset()


def test_with_the_bridge_all_tasks_are_lost_and_another_one_is_started(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poll(0.0, Ready({}), posted("ws1/cpu"), posted("ws2/cpu"))
    bench.executor.start("ws1/cpu", task("7"))
    bench.executor.start("ws2/cpu", task("8", 3))
    lost = bench.poll(1.0, Gone(-9, False))
    assert [(type(one), one.job, one.attempt) for one in lost] == [(Lost, "7", 1), (Lost, "8", 3)]
    assert bench.bridges[0].closed  # it writes nothing any more
    (told,) = bench.executor.devices()
    assert "looked for anew" in told.trouble
    assert "no route to host" not in told.trouble, "an artist has no use for Ray's own words"
    assert "no route to host" in caplog.text
    bench.poll(1.1)
    assert len(bench.bridges) == 1
    bench.poll(2.0)
    assert len(bench.bridges) == 2
    assert bench.executor.free() == ()


def test_why_the_cluster_cannot_be_joined_is_said_until_it_is(bench: Bench) -> None:
    bench.poll(0.0, Trouble("no cluster answers at ws1:6379"), Gone(1, False))
    assert bench.executor.devices()[0].trouble == "no cluster answers at ws1:6379"
    bench.poll(5.0)
    assert bench.executor.devices()[0].trouble == "no cluster answers at ws1:6379"
    bench.poll(6.0, Ready({}), posted("ws1/cpu"))
    assert bench.executor.devices()[0].trouble == ""


def test_pauses_between_tries_grow_up_to_a_limit(bench: Bench) -> None:
    now, begun = 0.0, []
    while now < 200.0:
        if len(begun) < len(bench.bridges):
            begun.append(now)
            bench.poll(now, Gone(1, False))
        now += 0.25
        bench.poll(now)
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses) == 15.0


def test_a_bridge_that_never_joins_is_ended(bench: Bench) -> None:
    bench.poll(JOIN_SECONDS - 1)
    assert not bench.bridges[0].killed
    bench.poll(JOIN_SECONDS)
    assert bench.bridges[0].killed


def test_a_bridge_that_cannot_be_started_is_told_of(tmp_path: Path) -> None:
    executor = RayExecutor("cpu", tmp_path, ("/no/such/program",), list)
    executor.poll(0.0)
    assert "cannot be started" in executor.devices()[0].trouble
    executor.close()


def test_a_real_bridge_process_that_says_something_else_is_ended(tmp_path: Path) -> None:
    executor = RayExecutor("cpu", tmp_path, (sys.executable, "-c", "print('hello, server!')"), list)
    try:
        until(lambda: executor.poll(time.monotonic()) or executor.devices()[0].trouble)
        assert "the way to the cluster is lost" in executor.devices()[0].trouble
    finally:
        executor.close()


@pytest.mark.parametrize(
    "news",
    [
        Posted("ws1/cuda", "idle", "", HAS_BOTH, {"seconds_per_step": 0.2}),
        Withdrawn("ws1/cuda"),
        Trouble("no token"),
        Failed("7", 1, "no_result", "nothing came of it"),
        Stopped("7", 1),
        Crashed("7", 1, "SIGKILL", "it died"),
        Lost("7", 1, "ws1 has left"),
    ],
)
def test_what_the_bridge_says_is_understood(news: News) -> None:
    header = {"is": type(news).__name__.lower(), **asdict(news)}  # type: ignore[arg-type]
    assert understood(Message(json.loads(json.dumps(header, default=sorted)))) == [news]


@pytest.mark.parametrize(
    "header", [{}, {"is": "posted"}, {"is": "withdrawn", "name": "x", "more": 1}, {"is": "finished", "job": "7"}]
)
def test_what_makes_no_sense_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(PipeError, match="cannot be understood"):
        understood(Message(header))


def test_a_hundred_devices_get_their_jobs_in_turns_a_few_at_a_time(bench: Bench, store: Store) -> None:
    owners = [f"{index:x}" * 40 for index in range(5)]
    for owner in owners:
        for _ in range(30):
            store.submit(owner, [new_job_id()], Generation("a red mug"), [])
    bench.poll(0.0, Ready({}), *(posted(f"ws{index}/cuda", pace=0.01 * index) for index in range(100)))
    dispatcher = Dispatcher(store, bench.executor, lambda owner: True)
    for turn in range(100 // AT_ONCE):
        assert dispatcher.tick(1.0)
        assert dispatcher.due() is not None  # at once
        assert len(bench.bridges[0].asked) == AT_ONCE * (turn + 1)
    dispatcher.tick(1.0)
    dispatcher.tick(1.0)
    assert dispatcher.due() is None
    assert len(bench.bridges[0].asked) == 100
    running = store._database.execute("SELECT owner, count(*) FROM jobs WHERE state = 'running' GROUP BY owner")
    assert dict(map(tuple, running)) == dict.fromkeys(owners, 20)
    assert len(dispatcher.devices()) == 64
    assert dispatcher.devices()[-1] == "and 37 more"


def test_jobs_go_to_machines_that_have_their_model_and_others_wait_and_say_so(bench: Bench, store: Store) -> None:
    only_builtin = frozenset({("builtin", "sha256:ab")})
    bench.poll(0.0, Ready({}), posted("ws1/cpu", models=only_builtin), posted("ws2/cpu", models=only_builtin))
    dispatcher = Dispatcher(store, bench.executor, lambda owner: True)
    (corgi,) = store.submit("a" * 40, [new_job_id()], Generation("a corgi", model="corgis"), [])
    (mug,) = store.submit("a" * 40, [new_job_id()], Generation("a red mug"), [])
    dispatcher.tick(0.0)
    assert [one["job"] for one in bench.bridges[0].asked] == [str(mug.number)]
    assert 'no machine has the model "corgis"' in dispatcher.troubles()[0]
    bench.poll(1.0, posted("ws2/cpu"))
    dispatcher.tick(1.0)
    assert [(one["job"], one["device"]) for one in bench.bridges[0].asked][1:] == [(str(corgi.number), "ws2/cpu")]
    assert dispatcher.troubles() == ()
    assert (dispatcher.device_of(corgi.number), dispatcher.device_of(99)) == ("ws2/cpu", "")


def test_a_job_whose_machine_vanishes_again_and_again_goes_on(bench: Bench, store: Store) -> None:
    (job,) = store.submit("a" * 40, [new_job_id()], Generation("a red mug"), [])
    dispatcher = Dispatcher(store, bench.executor, lambda owner: True)
    bench.poll(0.0, Ready({}), posted("ws1/cpu"))
    for attempt in range(1, 10):
        dispatcher.tick(0.0)
        assert store.jobs.state("a" * 40, job.id).attempt == attempt
        bench.bridges[0].news.append(Lost(str(job.number), attempt, "ws1 has left"))
    dispatcher.tick(0.0)
    bench.bridges[0].news.append(Finished(str(job.number), 10, (), {}))
    dispatcher.tick(0.0)
    assert store.jobs.state("a" * 40, job.id).state == "done"


def test_a_job_that_was_cancelled_when_its_machine_vanished_is_cancelled(bench: Bench, store: Store) -> None:
    (job,) = store.submit("a" * 40, [new_job_id()], Generation("a red mug"), [])
    dispatcher = Dispatcher(store, bench.executor, lambda owner: True)
    bench.poll(0.0, Ready({}), posted("ws1/cpu"))
    dispatcher.tick(0.0)
    dispatcher.cancel(store.cancel("a" * 40, job.id))
    bench.bridges[0].news.append(Lost(str(job.number), 1, "ws1 has left"))
    dispatcher.tick(0.0)
    assert store.jobs.state("a" * 40, job.id).state == "cancelled"
