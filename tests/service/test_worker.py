"""The child process, spoken to over its pipes: what it tells, how it is stopped, and when it ends itself."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

from backend.service import pipe
from backend.service import worker as module
from backend.service.pipe import Message
from backend.service.worker import log_name

FAKE = Path(__file__).with_name("fake_worker.py")
DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""


class Spoken:
    """A worker with somebody to speak to it."""

    def __init__(self, log: Path, *program: str) -> None:
        self.log = log
        command = [sys.executable, *(program or (str(FAKE),)), "--device", "cpu"]
        with log.open("wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self.commands = cast(BufferedIOBase, self.process.stdin)
        self.news = cast(BufferedIOBase, self.process.stdout)
        assert self.told()["is"] == "ready"

    def told(self) -> dict[str, Any]:
        message = pipe.read(self.news)
        assert message is not None
        return message.header

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """All that is told up to the first of these kinds."""
        found = [self.told()]
        while found[-1]["is"] not in kinds:
            found.append(self.told())
        return found

    def start(self, folder: Path, prompt: str, job: str = "7", attempt: int = 1) -> None:
        task = {"job": job, "attempt": attempt, "request": {"prompt": prompt}, "folder": str(folder), "given": None}
        pipe.write(self.commands, Message({"do": "start", **task}))

    def cancel(self, job: str = "7", attempt: int = 1) -> None:
        pipe.write(self.commands, Message({"do": "cancel", "job": job, "attempt": attempt}))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Spoken]:
    spoken = Spoken(tmp_path / "log")
    with spoken.process as process:
        yield spoken
        process.kill()


def test_a_task_is_told_of_from_its_first_step_to_its_files(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path, "steps=3 preview=1 noise=1")
    *before, last = worker.until("finished")
    assert {(one["job"], one["attempt"]) for one in [*before, last]} == {("7", 1)}
    assert [(one["stage"], one["step"], one["steps"]) for one in before] == [
        ("loading", None, None),
        ("optimising", 1, 3),
        ("optimising", 2, 3),
        ("optimising", 3, 3),
        ("writing", None, None),
    ]
    assert [one["preview"] > 0 < one["coarse"] for one in before] == [False, True, True, True, False]
    assert [Path(one["path"]).stat().st_size for one in last["results"]] == [one["size"] for one in last["results"]]
    assert worker.log.read_text().count("noise") == 300  # what the engine prints goes to the log


def test_a_cancelled_task_stops_and_the_next_one_runs(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path / "1", "steps=100000 pace=0.01")
    worker.until("advanced")
    worker.cancel()
    assert worker.until("stopped", "finished")[-1] == {"is": "stopped", "job": "7", "attempt": 1, "spent": False}
    worker.start(tmp_path / "2", "steps=2", job="8")
    assert worker.until("stopped", "finished")[-1]["is"] == "finished"


def test_cancelling_another_attempt_or_job_changes_nothing(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path, "steps=20 pace=0.005", attempt=2)
    worker.until("advanced")
    worker.cancel(attempt=1)
    worker.cancel(job="8", attempt=2)
    assert worker.until("stopped", "finished")[-1]["is"] == "finished"
    worker.cancel(attempt=2)  # late
    worker.start(tmp_path, "steps=20", job="8")
    assert worker.until("stopped", "finished")[-1]["is"] == "finished"


@pytest.mark.skipif(sys.platform == "win32", reason="signals do not end waits there")
def test_a_stretch_without_reports_is_broken_off(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path, "steps=1 block=600")
    while worker.told().get("stage") != "unwrapping":
        pass
    worker.cancel()
    assert worker.told()["is"] == "stopped"
    worker.start(tmp_path / "2", "steps=2", job="8")
    assert worker.until("finished")[-1]["job"] == "8"


def test_a_signal_that_is_lost_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = module._Worker("cpu", BytesIO(), BytesIO())
    signals = []

    def wake() -> None:
        signals.append("SIGINT")
        if len(signals) == 2:  # the first one came just before the main thread began to wait
            worker.interrupt(signal.SIGINT, None)

    monkeypatch.setattr(module, "_wake_main_thread", wake)
    worker._given, worker._interruptible = ("7", 1), True
    with pytest.raises(module.Cancelled):
        worker._take({"do": "cancel", "job": "7", "attempt": 1})
    assert len(signals) == 2


def test_an_engine_that_swallows_the_cancellation_is_reported_when_it_ends(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path, "steps=40 pace=0.01 deaf=1 fail=no_luck")
    worker.until("advanced")
    worker.cancel()
    assert worker.until("stopped", "finished", "failed")[-1]["is"] == "stopped"


def test_a_failure_has_its_code_and_an_unexpected_one_is_in_the_log(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path / "1", "fail=disk_full")
    failed = worker.until("failed")[-1]
    assert (failed["code"], failed["sentence"], failed["spent"]) == ("disk_full", "it failed with disk_full", False)
    worker.start(tmp_path / "2", "bug=3")
    failed = worker.until("failed")[-1]
    assert failed["code"] == "internal"
    assert log_name("cpu") in failed["sentence"]
    assert "KeyError: 'bug'" in worker.log.read_text()
    worker.start(tmp_path / "3", "")
    assert worker.until("finished")


def test_what_the_real_engine_refuses_keeps_its_code(tmp_path: Path) -> None:
    """As a program, the worker is another module than the one that the engine imports its errors from."""
    worker = Spoken(tmp_path / "log", "-m", "backend.service.worker")
    with worker.process as process:
        request = {"prompt": "a red mug", "model": "nowhere"}
        task = {"job": "7", "attempt": 1, "request": request, "folder": str(tmp_path / "job"), "given": None}
        pipe.write(worker.commands, Message({"do": "start", **task}))
        failed = worker.until("failed")[-1]
        process.kill()
    assert failed["code"] == "bad_request"
    assert "nowhere" in failed["sentence"]


def test_a_spent_worker_tells_and_goes(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path, "fail=out_of_memory spent=1")
    assert worker.until("failed")[-1]["spent"]
    assert pipe.read(worker.news) is None
    assert worker.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("prompt", ["", "hang=2", "steps=100000 pace=0.005"])
def test_it_ends_when_its_commands_end(worker: Spoken, tmp_path: Path, prompt: str) -> None:
    if prompt:
        worker.start(tmp_path, prompt)
        worker.until("advanced")
    worker.commands.close()
    assert worker.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("command", [{"do": "dance"}, {"job": "7"}, {"do": "start", "job": "7", "attempt": 1}])
def test_it_ends_when_it_does_not_understand(worker: Spoken, command: dict[str, Any]) -> None:
    pipe.write(worker.commands, Message(command))
    assert worker.process.wait(DEADLINE) == 0
    assert "cannot be understood" in worker.log.read_text()


def test_it_ends_when_nobody_hears_it(worker: Spoken, tmp_path: Path) -> None:
    worker.start(tmp_path, "steps=100000 pace=0.001")
    worker.news.close()
    assert worker.process.wait(DEADLINE) == 0


def test_it_starts_fast_and_without_torch() -> None:
    code = "import sys; import backend.service.worker, backend.service.local; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    assert log_name("cuda:1") == "worker-cuda-1.log"
