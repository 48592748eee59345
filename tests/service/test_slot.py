"""One device with a worker that only pretends: times and order, without processes."""

from pathlib import Path
from typing import Any

import pytest

from backend.service.child import Child, Gone, News, Ready, Spent
from backend.service.executor import Advanced, Crashed, Failed, Finished, Stopped, Task
from backend.service.slot import QUICK_DEATHS, Patience, Slot

PATIENCE = Patience(cancel=10, terminate=5, start=100, restart=1, restart_most=4, broken=60)
READY = Ready({"seconds_per_step": 0.1})


class Pretended(Child):
    """Notes what is asked of it, and has the news that a test puts there."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.news: list[News] = []
        self.log = Path("worker.log")

    def send(self, command: dict[str, Any]) -> None:
        self.asked.append((command["do"], command["job"], command["attempt"]))

    def take(self) -> list[News]:
        news, self.news = self.news, []
        return news

    def terminate(self) -> None:
        self.asked.append("terminate")

    def kill(self) -> None:
        self.asked.append("kill")

    def dismiss(self) -> None:
        self.asked.append("dismiss")

    def close(self) -> None:
        self.asked.append("close")

    def rotate_log(self) -> None:
        pass

    def last_words(self) -> str:
        return "no CUDA driver"


class Bench:
    """A slot and all workers that it started."""

    def __init__(self) -> None:
        self.workers: list[Pretended] = []
        self.broken_system = False
        self.slot = Slot("cpu", self._begin, PATIENCE)

    def _begin(self) -> Child:
        if self.broken_system:
            raise FileNotFoundError(2, "No such file", "python")
        self.workers.append(Pretended())
        return self.workers[-1]

    def poll(self, now: float, *news: News) -> list[Any]:
        self.workers[-1].news += news
        return self.slot.poll(now)


def task(job: str = "7", attempt: int = 1) -> Task:
    return Task(job, attempt, {"prompt": "a red mug"}, Path("folder"))


@pytest.fixture
def bench() -> Bench:
    """A warm and idle device at time 0."""
    bench = Bench()
    bench.slot.poll(0.0)
    assert bench.slot.state == "starting"
    bench.poll(0.0, READY)
    assert bench.slot.state == "idle"
    return bench


def test_a_task_keeps_the_device_busy_until_it_ends(bench: Bench) -> None:
    bench.slot.start(task())
    assert bench.slot.state == "busy"
    advanced, finished = Advanced("7", 1, "optimising", 3), Finished("7", 1, (), {})
    assert bench.poll(1.0, advanced) == [advanced]
    assert bench.slot.state == "busy"
    assert bench.poll(2.0, finished) == [finished]
    assert bench.slot.state == "idle"
    assert bench.slot.facts == READY.facts


def test_news_of_another_attempt_or_job_is_dropped(bench: Bench) -> None:
    bench.slot.start(task(attempt=2))
    strangers = [Finished("7", 1, (), {}), Advanced("7", 3, "loading"), Failed("8", 2, "internal", ""), Stopped("8", 2)]
    assert bench.poll(1.0, *strangers) == []
    assert bench.slot.state == "busy"


def test_the_ladder_is_climbed_rung_by_rung(bench: Bench) -> None:
    bench.slot.start(task())
    bench.slot.cancel()
    bench.slot.cancel()
    asked = bench.workers[0].asked
    assert asked == [("start", "7", 1), ("cancel", "7", 1)]
    for now, rung in (
        (100.0, None),
        (109.9, None),
        (110.0, "terminate"),
        (114.9, None),
        (115.0, "kill"),
        (999.0, None),
    ):
        before = len(asked)
        assert bench.poll(now) == []
        assert asked[before:] == ([rung] if rung else [])
    assert bench.slot.state == "busy"  # until it is dead for certain
    assert bench.poll(1000.0, Gone(-9, asked=True)) == [Stopped("7", 1)]
    assert bench.slot.state == "starting"


def test_a_ladder_ends_with_its_task(bench: Bench) -> None:
    bench.slot.start(task())
    bench.slot.cancel()
    bench.poll(100.0)
    assert bench.poll(101.0, Stopped("7", 1)) == [Stopped("7", 1)]
    bench.slot.start(task("8"))
    bench.poll(500.0)
    assert bench.workers[0].asked == [("start", "7", 1), ("cancel", "7", 1), ("start", "8", 1)]


def test_without_a_task_cancelling_does_nothing(bench: Bench) -> None:
    bench.slot.cancel()
    bench.poll(1000.0)
    assert bench.workers[0].asked == []


@pytest.mark.parametrize(
    ("gone", "reason", "sentence"),
    [
        (Gone(-9, asked=False), "SIGKILL", "when memory runs out"),
        (Gone(-9, asked=True), "SIGKILL", "worker.log"),
        (Gone(-11, asked=False), "SIGSEGV", "worker.log"),
        (Gone(-40, asked=False), "signal 40", "worker.log"),
        (Gone(7, asked=False), "exit code 7", "worker.log"),
    ],
)
def test_a_crash_has_its_reason_and_the_worker_comes_back(bench: Bench, gone: Gone, reason: str, sentence: str) -> None:
    bench.slot.start(task())
    (crashed,) = bench.poll(5.0, gone)
    assert isinstance(crashed, Crashed)
    assert (crashed.job, crashed.attempt, crashed.reason) == ("7", 1, reason)
    assert sentence in crashed.sentence
    assert bench.workers[0].asked[-1] == "close"
    assert len(bench.workers) == 2  # at once
    bench.poll(5.0, READY)
    assert bench.slot.state == "idle"


def test_what_was_told_before_the_death_counts(bench: Bench) -> None:
    bench.slot.start(task())
    finished = Finished("7", 1, (), {})
    assert bench.poll(5.0, finished, Gone(-9, asked=False)) == [finished]
    assert bench.slot.state == "starting"


def test_a_spent_worker_is_not_free(bench: Bench) -> None:
    bench.slot.start(task())
    failed = Failed("7", 1, "out_of_memory", "lower something")
    assert bench.poll(5.0, failed, Spent()) == [failed]
    assert bench.slot.state == "starting"
    assert bench.poll(5.1, Gone(0, asked=False)) == []
    assert len(bench.workers) == 2


def test_deaths_while_starting_are_met_with_patience_and_then_with_a_word() -> None:
    bench = Bench()
    starts = []
    bench.slot.poll(0.0)
    now = 0.0
    for death in range(1, QUICK_DEATHS + 1):
        starts.append(now)
        bench.poll(now, Gone(1, asked=False))
        pause = 60.0 if death == QUICK_DEATHS else min(2.0 ** (death - 1), 4.0)
        assert bench.slot.state == ("broken" if death == QUICK_DEATHS else "starting")
        bench.slot.poll(now + pause - 0.01)
        assert len(bench.workers) == death
        now += pause
        bench.slot.poll(now)
        assert len(bench.workers) == death + 1
    assert bench.slot.state == "broken"
    assert bench.slot.trouble == "the worker died while it started (exit code 1): no CUDA driver"
    bench.poll(now, Gone(1, asked=False))  # the driver is still missing a minute later
    assert bench.slot.state == "broken"
    bench.slot.poll(now + 60.0)
    bench.poll(now + 61.0, READY)
    assert (bench.slot.state, bench.slot.trouble) == ("idle", "")


def test_a_worker_that_never_gets_warm_is_given_up_once() -> None:
    bench = Bench()
    bench.slot.poll(0.0)
    for now in (99.9, 100.0, 100.1, 200.0):
        bench.slot.poll(now)
    assert bench.workers[0].asked == ["kill"]
    bench.poll(201.0, Gone(-9, asked=True))
    assert bench.slot.state == "starting"
    bench.slot.poll(201.9)
    assert len(bench.workers) == 1
    bench.slot.poll(202.0)
    assert len(bench.workers) == 2


def test_a_worker_that_cannot_be_started_is_no_crash_of_the_server() -> None:
    bench = Bench()
    bench.broken_system = True
    for now in range(100):
        bench.slot.poll(float(now))
    assert bench.slot.state == "broken"
    assert "cannot be started" in bench.slot.trouble
    bench.slot.close()
    bench.slot.dismiss()


def test_closing_ends_the_worker(bench: Bench) -> None:
    bench.slot.dismiss()
    bench.slot.close()
    bench.slot.close()
    assert bench.workers[0].asked == ["dismiss", "close"]
