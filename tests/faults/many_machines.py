"""What a backend on a Ray cluster promises, tried on a cluster of this machine.

    python tests/faults/many_machines.py strangers   without the token nobody is let in, and the backend stays away
    python tests/faults/many_machines.py two         two backends share the devices of one cluster
    python tests/faults/many_machines.py head        the whole cluster dies and comes back; the backend stays
    python tests/faults/many_machines.py real        a real job whose machine dies half-way ends with the same bytes
    python tests/faults/many_machines.py throughput  1, 2 and 3 machines with jobs of fixed seconds

Prints what it found; exit code 1 if it is not as it should be.
"""

import argparse
import copy
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster_host import FAKE
from machinery import Machinery
from nemesis import HERE, Process, free_port

from backend.service.keys import KeyRing
from shared.client import Client, Patience
from shared.jobs import Generation, new_job_id
from shared.states import FINAL

WORKER = "backend.service.worker"
DEADLINE = 300.0
JOBS, SECONDS = 6, 6.0


class Backend:
    """A backend on a cluster, and one artist."""

    def __init__(self, folder: Path, machinery: Machinery, worker: str = FAKE) -> None:
        self.folder = folder
        folder.mkdir()
        self.port = free_port()
        command = [sys.executable, str(HERE / "cluster_host.py")]
        arguments = [str(folder), str(self.port), machinery.address, worker]
        self.process = Process([*command, *arguments], folder / "server.log", machinery.environment)
        assert self.process.ready.wait(DEADLINE)
        local = KeyRing(folder / "keys").read_local()
        assert local
        self.client = Client(local, "tests", Patience(None))

    def submit(self, prompt: str, **settings: Any) -> str:
        job = new_job_id()
        self.client.submit((job,), Generation(prompt, **settings))
        return job

    def state(self, job: str) -> Any:
        return self.client.state(job)

    def done(self, job: str) -> bool:
        return self.state(job).state == "done"

    def trouble(self) -> str:
        return " / ".join(self.client.hello().trouble)

    def number(self, job: str) -> int:
        return self.state(job).number

    def close(self) -> None:
        self.client.close()
        self.process.close()


def until(what: str, done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if found := done():
            return found
        time.sleep(0.05)
    raise SystemExit(f"not within {DEADLINE:.0f} s: {what}")


def strangers(folder: Path, machinery: Machinery) -> None:
    """Ray's own ways in, without its token and with a wrong one; and the backend, without and on an open cluster."""
    join = "import ray, sys; ray.init(address=sys.argv[1], logging_level='error'); print('in', len(ray.nodes()))"
    ask = (
        "import sys; from ray._raylet import GcsClient; print('in', GcsClient(address=sys.argv[1]).get_all_node_info())"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    tokens = {"none": {"RAY_AUTH_MODE": "disabled"}, "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 64 * "0"}}
    for way, code in {"join": join, "ask": ask}.items():
        for token, variables in tokens.items():
            home = {"HOME": str(folder)}
            command = [sys.executable, "-c", code, machinery.address]
            done = subprocess.run(command, env={**bare, **variables, **home}, capture_output=True, text=True)
            assert "in" not in done.stdout.split(), done.stdout
            assert "InvalidAuthToken" in done.stderr, done.stderr
            print(f"{way} with {token} token: refused")
    for token, told in (("", "no token"), (64 * "0", "cannot be joined")):
        backend = Backend(folder / f"backend {bool(token)}", _with_token(machinery, folder, token))
        until("the backend says what is wrong", lambda backend=backend, told=told: told in backend.trouble())
        print(f"the backend itself, with {'a wrong' if token else 'no'} token: {backend.trouble()}")
        backend.close()


def _with_token(machinery: Machinery, folder: Path, token: str) -> Machinery:
    """The cluster, as somebody has it whose token is another one."""
    other = copy.copy(machinery)
    other.environment = {**machinery.environment, "RAY_AUTH_TOKEN": token, "HOME": str(folder)}
    return other


def two(folder: Path, machinery: Machinery) -> None:
    """Two backends, one device: the second waits until the first is gone, and the first until the second is."""
    machinery.add()
    first = Backend(folder / "first", machinery)
    job = first.submit("a red mug steps=2000 pace=0.05")
    until("the first backend's job runs", lambda: first.state(job).device)
    second = Backend(folder / "second", machinery)
    other = second.submit("a blue mug steps=3")
    until("the second says what it waits for", lambda: "others may use it" in second.trouble())
    assert second.state(other).state == "queued"
    print(f"the second backend waits: {second.trouble()}")
    first.process.kill()
    until("the second gets the device of the first, which was killed", lambda: second.done(other))
    second.process.kill()
    first.process.start()
    assert first.process.ready.wait(DEADLINE)
    until("the first has it again", lambda: first.state(job).device and first.state(job).attempt == 2)
    print("after kill -9 each got the device of the other; no job was done twice, none was lost")
    lines = machinery.executions.read_text().splitlines()
    assert len(lines) == 1, lines
    first.close()
    second.close()


def head(folder: Path, machinery: Machinery) -> None:
    """All of Ray dies, and is started anew at the same address: the backend answers all the time, and jobs go on."""
    name = machinery.add()
    backend = Backend(folder / "backend", machinery)
    job = backend.submit("a red mug steps=400 pace=0.05")
    work = folder / "backend" / "service" / "work" / str(backend.number(job))
    until("a checkpoint has come", (work / "checkpoint.json").exists)
    machinery.kill(name)
    machinery.kill_head()
    until("the job is given back", lambda: backend.state(job).state == "queued" and backend.trouble())
    print(f"without head: {backend.trouble()[:200]}")
    machinery.begin(machinery.port)
    machinery.add()
    until("the job goes on", lambda: backend.state(job).device)
    until("the job is done", lambda: backend.done(job))
    print(
        f"attempts {backend.state(job).attempt}, done by {len(machinery.executions.read_text().splitlines())} execution"
    )
    backend.close()


def real(folder: Path, machinery: Machinery) -> None:
    """The same request twice, the second time with the power cut half-way."""
    machinery.add()
    backend = Backend(folder / "backend", machinery, WORKER)
    settings = {"seed": 7, "preset": "draft"}
    whole = backend.submit("a red mug", **settings)
    until("the undisturbed job is done", lambda: backend.done(whole))
    cut = backend.submit("a red mug", **settings)
    work = folder / "backend" / "service" / "work" / str(backend.number(cut))
    kept = until("a checkpoint has come", lambda: sorted(work.glob("out/.dreamtime/*/step-*[0-9]/manifest.json")))
    device = backend.state(cut).device
    live = until("the job tells how far it is", lambda: backend.client.news(None, 0, 1.0).running)
    machinery.kill(device.partition("/")[0])
    begun = time.monotonic()
    machinery.add()
    until("the job is done", lambda: backend.done(cut))
    step = int(kept[-1].parent.name.removeprefix("step-"))
    print(f"killed {device} at step {live[-1].step} or later; the server had step {step}")
    print(f"done {time.monotonic() - begun:.0f} s after the kill, attempts {backend.state(cut).attempt}")
    first, second = (_meshes(backend, job) for job in (whole, cut))
    assert first == second, (first, second)
    print(f"mesh.glb is the same, {first}")
    for line in (folder / "backend" / "logs" / "worker-cpu.log").read_text().splitlines():
        if " bytes to " in line:
            print(line.partition("station: ")[2])
    backend.close()


def _meshes(backend: Backend, job: str) -> str:
    folder = backend.folder / job
    folder.mkdir()
    backend.client.fetch_all(backend.state(job), folder)
    return hashlib.sha256((folder / "mesh.glb").read_bytes()).hexdigest()


def throughput(folder: Path, machinery: Machinery) -> None:
    """How much of the ideal speed is left, of jobs that take SECONDS each."""
    backend = Backend(folder / "backend", machinery)
    for machines in (1, 2, 3):
        machinery.add()
        until("all devices are warm", lambda machines=machines: _idle(backend) == machines)
        steps = 100
        began = time.monotonic()
        jobs = [backend.submit(f"a red mug steps={steps} pace={SECONDS / steps} keep=50", seed=i) for i in range(JOBS)]
        until("all are done", lambda jobs=jobs: all(backend.state(job).state in FINAL for job in jobs))
        took, ideal = time.monotonic() - began, JOBS * SECONDS / machines
        print(f"{machines} machines: {JOBS} jobs of {SECONDS} s in {took:.1f} s, {100 * ideal / took:.0f} % of ideal")
    backend.close()


def _idle(backend: Backend) -> int:
    return sum(device.endswith(": idle") for device in backend.client.hello().devices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trials = {trial.__name__: trial for trial in (strangers, two, head, real, throughput)}
    parser.add_argument("trial", choices=trials)
    trial = trials[parser.parse_args().trial]
    folder = Path(tempfile.mkdtemp(prefix="machines-"))
    machinery = Machinery(folder / "home")
    try:
        trial(folder, machinery)
    finally:
        machinery.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
