"""The server as a whole: a process, workers that compute nothing, and clients over sockets with CURVE."""

import hashlib
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.client import Client
from shared.connection import Patience
from shared.errors import Conflict, Invalid, NotPaired, OtherVersion, Unreachable
from shared.inputs import Start
from shared.jobs import Generation, JobState, Live, new_job_id
from shared.messages import Hello, Refused, decode, encode
from shared.pairing import Pairing
from shared.states import FINAL, State
from shared.wire import VERSION

DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""


@pytest.fixture
def client(host: Any) -> Iterator[Client]:
    with Client(host.pairing, "tests", Patience(DEADLINE)) as client:
        yield client


def submitted(client: Client, prompt: str, **more: Any) -> str:
    job = new_job_id()
    client.submit((job,), Generation(prompt, **more))
    return job


def finished(client: Client, job: str) -> JobState:
    return [part for part in client.follow(job) if isinstance(part, JobState)][-1]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(client: Client, job: str) -> Live:
    """Wait until the job has done a step."""
    return next(part for part in client.follow(job) if isinstance(part, Live) and part.step)


def test_a_job_is_submitted_followed_cancelled_resubmitted_finished_fetched_and_forgotten(
    host: Any, client: Client, tmp_path: Path
) -> None:
    first = submitted(client, "a red mug pace=0.02 steps=100000 preview=1")
    live = running(client, first)
    assert (live.steps, live.preview > 0, live.coarse > 0) == (100000, True, True)
    client.cancel(first)
    assert finished(client, first).state == State.CANCELLED
    second = submitted(client, "a red mug steps=5 size=1300000")
    job = finished(client, second)
    assert (job.state, job.attempt, job.acknowledged) == (State.DONE, 1, False)
    client.fetch_all(job, tmp_path)
    for asset in job.results:
        content = (tmp_path / asset.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (asset.size, asset.sha256)
    assert client.state(second).acknowledged
    assert [job.id for job in client.jobs()] == [second, first]
    client.delete(first)
    assert [job.id for job in client.jobs()] == [second]
    assert host.executions() == 1


def test_welcome_tells_all_that_a_panel_needs(client: Client) -> None:
    until(lambda: client.hello().devices == ("cpu: idle", "cpu:1: idle"))
    welcome = client.hello()
    assert welcome.trouble == ()
    model = welcome.offer.models[0]
    assert model.name == "builtin"
    assert model.words
    words = client.words(model.words)
    assert {"mug", "cup"} < set(words.names)
    assert {"red", "striped"} < set(words.adjectives)
    assert [preset.name for preset in model.presets] == ["draft", "standard", "high"]
    assert abs(welcome.clock - time.time()) < 60


def test_an_unknown_object_is_refused_with_known_ones(client: Client) -> None:
    with pytest.raises(Invalid, match="try one of: horse") as caught:
        submitted(client, "a unicorn")
    assert caught.value.nearest[:2] == ("horse", "stag")
    assert list(client.jobs()) == []


def test_variations_are_jobs_with_seeds_of_their_own(client: Client) -> None:
    ids = (new_job_id(), new_job_id(), new_job_id())
    client.submit(ids, Generation("a red mug steps=1", seed=4))
    jobs = [finished(client, job) for job in ids]
    assert [job.request.seed for job in jobs] == [4, 5, 6]
    assert len({job.results[0].sha256 for job in jobs}) == 3


def test_a_request_sent_twice_is_done_once(host: Any, client: Client) -> None:
    request = Generation("a red mug steps=1")
    job = new_job_id()
    for _ in range(5):
        client.submit((job,), request)
    finished(client, job)
    client.submit((job,), request)
    assert host.executions() == 1
    with pytest.raises(Conflict):
        client.submit((job,), Generation("a blue mug"))


def test_after_kill_nine_of_the_server_jobs_go_on_from_their_checkpoints(host: Any, client: Client) -> None:
    ids = [submitted(client, f"a red mug steps={20 + number} hold=10") for number in range(4)]
    until(lambda: [running(client, job).step for job in ids[:2]] == [10, 10])
    host.end(signal.SIGKILL)
    host.go()
    host.start()
    steps = [part.step for part in client.follow(ids[0]) if isinstance(part, Live) and part.step]
    assert steps == [] or min(steps) >= 10
    jobs = [finished(client, job) for job in ids]
    assert [job.state for job in jobs] == [State.DONE] * 4
    assert [job.attempt for job in jobs] == [2, 2, 1, 1]
    assert host.executions() == 4


def test_a_killed_workers_job_goes_on_and_then_another_starts(host: Any, client: Client) -> None:
    job = submitted(client, "a red mug steps=20 crash=9")
    assert finished(client, job).state == State.DONE
    assert client.state(job).attempt == 2
    hopeless = submitted(client, "a red mug steps=9 crashes=5")
    state = finished(client, hopeless)
    assert state.state == State.FAILED
    assert state.reason
    assert (state.reason.code, state.attempt) == ("crashed", 3)
    assert "SIGKILL" in state.reason.sentence
    assert finished(client, submitted(client, "a red mug steps=1")).state == State.DONE


def test_stopping_keeps_jobs_and_leaves_no_process(host: Any, client: Client) -> None:
    job = submitted(client, "a red mug steps=20 hold=5")
    running(client, job)
    workers = host.workers()
    assert len(workers) == 2
    assert host.end(signal.SIGTERM) == 0
    until(lambda: not any(worker.is_running() for worker in workers))
    host.start()
    assert client.state(job).state not in FINAL
    host.go()
    assert finished(client, job).state == State.DONE


def test_workers_end_with_a_killed_server(host: Any, client: Client) -> None:
    running(client, submitted(client, "a red mug steps=100000 pace=0.02"))
    workers = host.workers()
    host.end(signal.SIGKILL)
    until(lambda: not any(worker.is_running() for worker in workers))


def test_artists_wait_for_their_turn(host: Any, client: Client) -> None:
    other = Pairing("127.0.0.1", host.port, host.pairing.server_key, host.keys.pair("ben"))
    mine = [submitted(client, "a red mug steps=10 hold=1") for _ in range(8)]
    with Client(other, "tests", Patience(DEADLINE)) as ben:
        his = submitted(ben, "a blue mug steps=10")
        host.go()
        done = finished(ben, his)
    assert done.state == State.DONE
    begun = [finished(client, job).started or 0.0 for job in mine]
    assert sum(started > (done.started or 0.0) for started in begun) >= 4


def test_a_revoked_key_ends_in_the_open_connection(host: Any, client: Client) -> None:
    ben_pairing = Pairing("127.0.0.1", host.port, host.pairing.server_key, host.keys.pair("ben"))
    with Client(ben_pairing, "tests") as ben:
        ben.hello()
        host.keys.revoke("ben")
        with pytest.raises(Unreachable):  # its messages are dropped
            until(lambda: ben.hello() is None)
        with pytest.raises(NotPaired):  # and a new connection is refused
            ben.hello()
    assert client.hello()


def test_who_came_is_remembered(host: Any, client: Client) -> None:
    client.hello()
    assert [(known.name, known.last_seen is not None) for known in host.keys.clients()] == [("local", True)]


def test_another_version_is_told_so(host: Any) -> None:
    pairing = host.pairing
    with Client(pairing, "tests") as client:
        client.hello()
        link = client._connection._connected()
        frames = encode(Hello("9"), 7)
        link.send([b"DT" + (VERSION + 1).to_bytes(2, "big"), *frames[1:]], DEADLINE)
        number, answer = decode(link.receive(time.monotonic() + DEADLINE))
        assert number == 0
        assert isinstance(answer, Refused)
        assert isinstance(answer.error(), OtherVersion)


def test_a_reader_that_does_not_read_stops_nobody(host: Any, client: Client) -> None:
    """Its answers are dropped when its queue is full; the server neither waits nor grows."""
    with Client(host.pairing, "tests") as lazy:
        lazy.hello()
        link = lazy._connection._connected()
        for number in range(100, 3000):
            link._socket.send_multipart(encode(Hello("9"), number))
        assert client.hello()
    memory = psutil.Process(host.process.pid).memory_info().rss
    assert memory < 200 * 2**20


def test_an_upload_goes_on_after_the_server_was_killed_in_the_middle_of_it(host: Any, tmp_path: Path) -> None:
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0) + bytes(12_000_000)
    path = tmp_path / "front.png"
    path.write_bytes(content)
    start = Start("picture", hashlib.sha256(content).hexdigest(), "front")
    killed, asked = [], []

    def sent(size: int) -> None:
        asked.append(size)
        if size > 1_000_000 and not killed:
            killed.append(size)
            host.end(signal.SIGKILL)
            host.start()

    with Client(host.pairing, "tests", Patience(None)) as client:
        client.upload(start, path, sent)
        (job,) = client.submit((new_job_id(),), Generation("a red mug steps=1", start=start))
        assert list(client.follow(job.id))[-1].state == "done", "the worker has all of its bytes"
    assert killed
    assert asked[-1] == len(content)
    assert asked == sorted(asked), "nothing was begun anew"
