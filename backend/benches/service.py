"""How fast the service is: real servers as processes of their own, real clients, real sockets with CURVE.

What concerns messages and files is measured around workers that compute nothing, what concerns devices with the
engine itself.
"""

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from backend import program
from backend.benches.engine import PROMPT, Row
from backend.home import VARIABLE
from backend.service.keys import KeyRing
from shared.client import Client
from shared.connection import Patience
from shared.jobs import Generation, JobState, Live, new_job_id
from shared.limits import VARIATIONS
from shared.pairing import Pairing
from shared.states import FINAL

IDLE_WORKER = "backend.benches.worker"
_START_SECONDS = 60.0
_FETCHED_KIB = 64 * 1024


@contextmanager
def backend(worker: str | None = None) -> Iterator[tuple[Pairing, int, Path]]:
    """A server in a folder of its own: how to reach it, its process's id, and that folder. worker: not the engine's."""
    with tempfile.TemporaryDirectory() as home:
        command = [*program.command("backend"), "serve", "--port", "0", *(["--worker", worker] if worker else [])]
        environment = {**os.environ, VARIABLE: home}
        with (Path(home) / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # noqa: S603  # our own words
        try:
            pairing = _ready(server, Path(home))
            yield pairing, server.pid, Path(home)
        finally:
            server.terminate()
            server.wait()


def message_rows(submissions: int = 200, artists: int = 20, jobs_each: int = 25) -> list[Row]:
    """Acknowledging, fetching and telling events."""
    with backend(IDLE_WORKER) as (pairing, _, _), Client(pairing, "bench") as client:
        rows = [_acknowledgement_row(client, submissions), _fetch_row(client)]
        _emptied(client)
        return [*rows, _events_row(pairing, artists, jobs_each)]


def device_rows(preset: str = "standard") -> list[Row]:
    """The first preview and the two ways to end a job, with the engine."""
    with backend() as (pairing, pid, _), Client(pairing, "bench") as client:
        return [
            ("SUBMIT to first preview, warm", f"{_first_preview(client, preset):.2f} s"),
            ("CANCEL to free device, cooperative", f"{_cancelled(client, preset):.2f} s"),
            ("CANCEL to free device, worker frozen", f"{_cancelled(client, preset, freeze=pid):.1f} s"),
        ]


def _acknowledgement_row(client: Client, count: int) -> Row:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        client.submit((new_job_id(),), Generation(PROMPT))
        seconds.append(time.perf_counter() - began)
    median, most = 1e3 * statistics.median(seconds), 1e3 * max(seconds)
    return f"SUBMIT to acknowledgement, {count} times", f"median {median:.1f} ms, longest {most:.1f} ms"


def _fetch_row(client: Client, times: int = 5) -> Row:
    job = _done(client, Generation(PROMPT, steps=_FETCHED_KIB))
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(times):
            began = time.perf_counter()
            client.fetch(job.results[0], Path(folder) / str(index))
            rates.append(job.results[0].size / (time.perf_counter() - began) / 1e6)
    return "FETCH of 64 MiB, checked and on disk", f"median {statistics.median(rates):.0f} MB/s, least {min(rates):.0f}"


def _events_row(pairing: Pairing, artists: int, jobs_each: int) -> Row:
    """From the change of a job's state, on the server's clock, to the client that hears of it."""
    with ThreadPoolExecutor(artists) as pool:
        delays = [delay for found in pool.map(_delays, [pairing] * artists, [jobs_each] * artists) for delay in found]
    p99 = statistics.quantiles(delays, n=100)[98]
    name = f"events of {artists * jobs_each} queued jobs to {artists} clients"
    return name, f"median {1e3 * statistics.median(delays):.0f} ms, p99 {1e3 * p99:.0f} ms, {len(delays):,} events"


def _delays(pairing: Pairing, count: int) -> list[float]:
    """Seconds that each event of this client's jobs took to arrive."""
    delays = []
    with Client(pairing, "bench") as client:
        news = client.news(None, 0, 0.0)
        waiting = {new_job_id() for _ in range(count)}
        ids = sorted(waiting)
        for start in range(0, count, VARIATIONS):
            client.submit(tuple(ids[start : start + VARIATIONS]), Generation(PROMPT))
        while waiting:
            news = client.news(news.cursor, news.live, 10.0)
            now = time.time()
            delays += [now - event.at for event in news.events]
            waiting -= {event.job for event in news.events if event.state in FINAL}
    return delays


def _first_preview(client: Client, preset: str) -> float:
    job = new_job_id()
    began = time.perf_counter()
    client.submit((job,), Generation(PROMPT, preset=preset))
    news = client.news(0, 0, 0.0)
    while not any(picture for picture, _ in news.pictures().values()):
        news = client.news(news.cursor, news.live, 10.0)
    seconds = time.perf_counter() - began
    client.cancel(job)
    _last(client, job)
    return seconds


def _cancelled(client: Client, preset: str, freeze: int | None = None) -> float:
    """Seconds from CANCEL until the job is cancelled. freeze: the server whose worker is stopped before."""
    job = new_job_id()
    client.submit((job,), Generation(PROMPT, preset=preset))
    next(part for part in client.follow(job) if isinstance(part, Live) and part.step)
    if freeze is not None:
        for worker in psutil.Process(freeze).children():
            worker.send_signal(signal.SIGSTOP)
    began = time.perf_counter()
    client.cancel(job)
    _last(client, job)
    return time.perf_counter() - began


def _done(client: Client, request: Generation) -> JobState:
    job = new_job_id()
    client.submit((job,), request)
    return _last(client, job)


def _last(client: Client, job: str) -> JobState:
    return [part for part in client.follow(job) if isinstance(part, JobState)][-1]


def _emptied(client: Client) -> None:
    """Wait until nothing is queued."""
    for job in client.jobs():
        if job.state not in FINAL:
            _last(client, job.id)


def _ready(server: "subprocess.Popen[bytes]", home: Path) -> Pairing:
    """How to reach the server, once its workers are idle. Raises RuntimeError with its log if they will not be."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        pairing = KeyRing(home / "keys").read_local()
        if pairing:
            with Client(pairing, "bench", Patience(_START_SECONDS)) as client:
                if all(device.endswith("idle") for device in client.hello().devices):
                    return pairing
        time.sleep(0.1)
    raise RuntimeError(f"the backend does not start: {(home / 'log').read_text('utf-8', 'replace')}")
