"""Real worker processes that do as they are told: crashes, cancellation, restarts, and nothing left behind."""

import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import zmq

from backend.service import local
from backend.service.child import LOG_BYTES
from backend.service.executor import Advanced, Crashed, Executor, Failed, Finished, Stopped, Task, Update
from backend.service.local import LocalExecutor, available_devices
from backend.service.slot import Patience

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""

LONG = Patience(cancel=DEADLINE, terminate=DEADLINE, start=DEADLINE, restart=0.01, restart_most=0.02, broken=0.3)
"""A worker has all the time it needs, however busy the machine is."""
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


class Bench:
    """An executor of pretending workers, and a loop around it as the server has one."""

    def __init__(self, folder: Path, *devices: str, patience: Patience = LONG) -> None:
        self.folder = folder
        self.log = folder / "logs" / "worker-cpu.log"
        self.executor = LocalExecutor(devices or ("cpu",), folder / "logs", FAKE, patience)

    def until(self, done: Callable[[list[Update]], object]) -> list[Update]:
        """All updates up to where `done`, which is asked after each look, is content."""
        updates: list[Update] = []
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            select.select([self.executor], [], [], 0.02)
            updates += self.executor.poll(time.monotonic())
            if done(updates):
                return updates
        raise AssertionError(f"not within {DEADLINE} s; {self.executor.devices()}, {updates}")

    def start(self, prompt: str, job: str = "7", attempt: int = 1, device: str = "cpu") -> None:
        self.until(lambda _: device in self.executor.free())
        self.executor.start(device, Task(job, attempt, {"prompt": prompt, "seed": 1}, self.folder / job))

    def ended(self) -> Update:
        """How the running task ends."""
        return self.until(lambda updates: [one for one in updates if not isinstance(one, Advanced)])[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.executor.close()


def test_it_is_an_executor_that_warms_up_by_itself(bench: Bench) -> None:
    assert isinstance(bench.executor, Executor)
    assert bench.executor.facts() == {}
    assert [(device.name, device.state) for device in bench.executor.devices()] == [("cpu", "starting")]
    assert bench.executor.free() == ()
    bench.until(lambda _: bench.executor.free())
    assert bench.executor.free() == ("cpu",)
    assert bench.executor.facts() == {"device": "fake cpu", "seconds_per_step": 0.0}


def test_results_are_there_when_a_task_is_finished(bench: Bench) -> None:
    bench.start("steps=5 size=100000")
    assert [device.state for device in bench.executor.devices()] == ["busy"]
    finished = bench.ended()
    assert isinstance(finished, Finished)
    assert {result.name for result in finished.results} == {"mesh.glb", "preview.png", "turntable.gif", "report.json"}
    assert finished.results[0].size == 100_000 == finished.results[0].path.stat().st_size
    assert finished.results[0].sha256 == finished.report["mesh"]
    assert bench.executor.free() == ("cpu",)


def test_only_a_free_device_takes_a_task(bench: Bench) -> None:
    bench.start("hang=1")
    for device in ("cpu", "cuda:0"):
        with pytest.raises(ValueError, match="not free"):
            bench.executor.start(device, Task("8", 1, {"prompt": ""}, bench.folder))


def test_of_progress_only_the_latest_waits_with_the_latest_picture(bench: Bench) -> None:
    bench.start("steps=3000 preview=1 keep=3000")
    deadline = time.monotonic() + DEADLINE
    while not (bench.folder / "7" / "out" / "report.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    updates = bench.until(lambda updates: any(isinstance(one, Finished) for one in updates))
    assert len(updates) < 100  # the worker may be ahead of the thread that hears it
    assert isinstance(updates[0], Advanced)
    assert updates[0].preview.startswith(b"\x89PNG")
    assert updates[0].coarse.startswith(b"DTC1")


@posix
def test_a_crashed_task_goes_on_from_its_checkpoint_to_the_same_bytes(bench: Bench) -> None:
    (bench.folder / "whole").mkdir()
    (bench.folder / "whole" / "crashed").touch()  # as if it had been, so that it is not
    bench.start("steps=30 crash=20", job="whole")
    whole = bench.ended()
    assert isinstance(whole, Finished)
    bench.start("steps=30 crash=20")
    crashed = bench.ended()
    assert isinstance(crashed, Crashed)
    assert crashed.reason == "SIGKILL"
    assert "memory" in crashed.sentence
    bench.start("steps=30 crash=20", attempt=2)
    updates = bench.until(lambda updates: any(isinstance(one, Finished) for one in updates))
    assert min(one.step for one in updates if isinstance(one, Advanced) and one.step) >= 20
    finished = updates[-1]
    assert isinstance(finished, Finished)
    assert [result.sha256 for result in finished.results] == [result.sha256 for result in whole.results]
    assert (bench.folder / "7" / "executions.log").read_text().count("\n") == 1


def test_an_exit_code_is_the_reason(bench: Bench) -> None:
    bench.start("exit=3")
    crashed = bench.ended()
    assert isinstance(crashed, Crashed)
    assert crashed.reason == "exit code 7"
    bench.until(lambda _: bench.executor.free())


def test_a_failure_is_no_crash(bench: Bench) -> None:
    bench.until(lambda _: bench.executor.free())
    before = bench.executor.pids()
    bench.start("fail=not_finite")
    assert bench.ended() == Failed("7", 1, "not_finite", "it failed with not_finite")
    bench.start("bug=2", job="8")
    failed = bench.ended()
    assert isinstance(failed, Failed)
    assert failed.code == "internal"
    assert bench.executor.pids() == before
    bench.start("fail=out_of_memory spent=1", job="9")
    assert isinstance(bench.ended(), Failed)
    assert bench.executor.free() == ()
    bench.until(lambda _: bench.executor.free())
    assert bench.executor.pids() != before


@posix
@pytest.mark.parametrize(
    ("prompt", "same_process"),
    [
        ("steps=100000 pace=0.005", True),
        ("steps=1 block=600", True),
        ("steps=100000 pace=0.005 deaf=1", False),
        ("steps=100000 pace=0.005 deaf=1 stubborn=1", False),
        ("hang=1", False),
        ("hang=1 stubborn=1", False),
    ],
)
def test_every_task_can_be_stopped(tmp_path: Path, prompt: str, same_process: bool) -> None:
    # Whoever does not stop when asked to is not waited for.
    patience = LONG if same_process else replace(LONG, cancel=0.2, terminate=0.2)
    bench = Bench(tmp_path, patience=patience)
    bench.start(prompt)
    before = bench.executor.pids()
    # Of progress only the latest is kept: on a busy machine the step may already be past.
    bench.until(lambda updates: any(isinstance(one, Advanced) and one.stage != "loading" for one in updates))
    for _ in range(3):
        bench.executor.cancel("7")
    assert bench.ended() == Stopped("7", 1)
    assert psutil.pid_exists(before["cpu"]) is same_process
    bench.start("", job="8")
    assert isinstance(bench.ended(), Finished)
    assert (bench.executor.pids() == before) is same_process
    bench.executor.close()


def test_a_stopped_task_goes_on_when_it_is_started_again(bench: Bench) -> None:
    prompt = "steps=1000 pace=0.002 keep=50"  # a busy disk takes its time for each checkpoint
    bench.start(prompt)
    bench.until(lambda updates: any(isinstance(one, Advanced) and (one.step or 0) > 50 for one in updates))
    bench.executor.cancel("7")
    assert bench.ended() == Stopped("7", 1)
    bench.start(prompt, attempt=2)
    updates = bench.until(lambda updates: any(isinstance(one, Finished) for one in updates))
    assert {one.attempt for one in updates} == {2}
    assert min(one.step for one in updates if isinstance(one, Advanced) and one.step) > 50


def test_cancelling_what_does_not_run_does_nothing(bench: Bench) -> None:
    bench.executor.cancel("nothing")
    bench.start("steps=20 pace=0.002")
    bench.executor.cancel("8")
    assert isinstance(bench.ended(), Finished)
    bench.executor.cancel("7")
    bench.start("steps=2", job="8")
    assert isinstance(bench.ended(), Finished)


@posix
def test_an_idle_worker_that_is_killed_is_replaced(bench: Bench) -> None:
    bench.until(lambda _: bench.executor.free())
    pid = bench.executor.pids()["cpu"]
    os.kill(pid, signal.SIGKILL)
    assert bench.until(lambda _: bench.executor.free() and bench.executor.pids()["cpu"] != pid) == []


def test_two_devices_work_at_the_same_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "cuda:0", "cuda:3")
    bench.start("steps=100000 pace=0.005", job="1", device="cuda:0")
    bench.start("steps=100000 pace=0.005", job="2", device="cuda:3")
    bench.until(lambda updates: {one.job for one in updates} == {"1", "2"})
    seen = {
        device: psutil.Process(pid).environ()["CUDA_VISIBLE_DEVICES"] for device, pid in bench.executor.pids().items()
    }
    assert seen == {"cuda:0": "0", "cuda:3": "3"}
    bench.executor.cancel("2")
    assert bench.ended() == Stopped("2", 1)
    assert bench.executor.free() == ("cuda:3",)
    bench.executor.close()


def test_a_device_whose_worker_dies_at_every_start_is_broken_and_mends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_START", "die")
    bench.until(lambda _: bench.executor.devices()[0].state == "broken")
    assert re.search(r"exit code 1\): .*no luck today", bench.executor.devices()[0].trouble)
    monkeypatch.delenv("FAKE_START")
    bench.until(lambda _: bench.executor.free())
    assert bench.executor.devices()[0].trouble == ""


def test_a_worker_that_hangs_while_it_starts_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, patience=replace(LONG, start=3.0))
    monkeypatch.setenv("FAKE_START", "hang")
    bench.until(lambda _: bench.executor.pids())
    monkeypatch.delenv("FAKE_START")
    bench.until(lambda _: bench.executor.free())
    bench.executor.close()


def test_a_command_that_is_not_there_is_trouble(tmp_path: Path) -> None:
    executor = LocalExecutor(["cpu"], tmp_path, ["/nowhere/python"], LONG)
    for now in range(10):
        executor.poll(float(now))
    assert executor.devices()[0].state == "broken"
    assert "/nowhere/python" in executor.devices()[0].trouble
    executor.close()


def test_a_worker_that_talks_nonsense_is_ended(tmp_path: Path) -> None:
    nonsense = "import sys, time; sys.stdout.buffer.write(bytes(range(200))); sys.stdout.flush(); time.sleep(600)"
    executor = LocalExecutor(["cpu"], tmp_path, [sys.executable, "-c", nonsense], LONG)
    deadline = time.monotonic() + DEADLINE
    while executor.devices()[0].state != "broken" and time.monotonic() < deadline:
        select.select([executor], [], [], 0.02)
        executor.poll(time.monotonic())
    assert executor.devices()[0].state == "broken"
    executor.close()


def test_a_large_log_is_put_aside_while_the_worker_writes_it(bench: Bench) -> None:
    bench.start("bug=1", job="1")
    assert isinstance(bench.ended(), Failed)
    with bench.log.open("ab") as log:
        log.write(b"x" * LOG_BYTES)
    bench.start("bug=1", job="2")
    assert isinstance(bench.ended(), Failed)
    assert bench.log.with_name("worker-cpu.log.1").stat().st_size > LOG_BYTES
    text = bench.log.read_text()
    assert "job 2" in text
    assert "job 1" not in text
    assert "\0" not in text


def test_a_zmq_poller_hears_it(bench: Bench) -> None:
    bench.start("steps=3")
    poller = zmq.Poller()
    poller.register(bench.executor, zmq.POLLIN)
    updates: list[Update] = []
    while not any(isinstance(one, Finished) for one in updates):
        assert poller.poll(DEADLINE * 1000)
        updates += bench.executor.poll(time.monotonic())
    assert poller.poll(0) == []


@pytest.mark.parametrize("prompt", ["", "hang=1 stubborn=1", "steps=100000 pace=0.001 deaf=1", "block=600 deaf=1"])
def test_closing_leaves_nothing_behind(tmp_path: Path, prompt: str) -> None:
    me = psutil.Process()
    before = (threading.active_count(), me.num_fds() if hasattr(me, "num_fds") else 0)
    others = set(me.children(recursive=True))  # of tests before: multiprocessing's tracker stays to the end
    bench = Bench(tmp_path, "cpu", "cuda:0")
    if prompt:
        bench.start(prompt)
        bench.until(lambda updates: updates)
    else:
        bench.until(lambda _: bench.executor.free())
    family = set(me.children(recursive=True)) - others
    bench.executor.close()
    _, alive = psutil.wait_procs(family, timeout=DEADLINE)
    assert alive == []
    assert (threading.active_count(), me.num_fds() if hasattr(me, "num_fds") else 0) == before


PARENT = """
import sys, time
from pathlib import Path
from backend.service.executor import Task
from backend.service.local import LocalExecutor
executor = LocalExecutor(["cpu"], Path(sys.argv[1]), sys.argv[3:])
while not executor.free():
    executor.poll(time.monotonic())
    time.sleep(0.01)
executor.start("cpu", Task("7", 1, {"prompt": sys.argv[2]}, Path(sys.argv[1])))
print(executor.pids()["cpu"], flush=True)
time.sleep(600)
"""


@posix
@pytest.mark.parametrize("prompt", ["steps=100000 pace=0.005", "hang=1", "hang=1 stubborn=1"])
def test_a_worker_dies_with_its_parent(tmp_path: Path, prompt: str) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), prompt, *FAKE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


LISTED = "GPU 0: NVIDIA H100 (UUID: GPU-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n"


@posix
@pytest.mark.parametrize(
    ("script", "visible", "expected"),
    [
        (f"printf '{LISTED}'", None, ("cuda:0", "cuda:1")),
        (f"printf '{LISTED}'", "1", ("cuda:1",)),
        (f"printf '{LISTED}'", "", ("cpu",)),
        ("printf 'No devices found.\n'", None, ("cpu",)),
        ("exit 9", None, ("cpu",)),
        ("printf 'GPU 0: a word of Windows-1252: \\351\\nGPU 1: another\\n'", None, ("cuda:0", "cuda:1")),
        (None, None, ("cpu",)),
    ],
)
def test_devices_are_the_gpus_or_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, visible: str | None, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        driver(tmp_path, script)
    assert available_devices() == expected


def test_a_driver_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LOOK_SECONDS", 0.5)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    driver(tmp_path, "exec sleep 600")
    assert available_devices() == ("cpu",)


def driver(folder: Path, script: str) -> None:
    """A stand-in for nvidia-smi."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexec 2>/dev/null\n{script}\n")
    tool.chmod(0o755)
