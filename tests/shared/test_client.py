"""The client against a backend that does what a test says, over real sockets with CURVE."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from shared import limits
from shared.assets import Asset
from shared.client import Client, Patience
from shared.errors import (
    ConnectionLost,
    Invalid,
    LinkError,
    Malformed,
    NotPaired,
    ProtocolError,
    Stopped,
    TransferError,
    Unreachable,
    WrongBackend,
)
from shared.jobs import Event, Generation, JobState, Live, new_job_id
from shared.messages import (
    Acknowledge,
    Chunk,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    decode,
    encode,
)
from shared.pairing import Pairing
from shared.words import Words

Script = Callable[[Message], Message | None]
JOB, BOOT = new_job_id(), new_job_id()
DEADLINE = 120.0
"""Seconds after which something that is waited for will not come."""


def state(name: str = "queued", number: int = 1, job: str = JOB, results: tuple[Asset, ...] = ()) -> JobState:
    return JobState(
        job, number, job, name, 0, Generation("a mug"), (), 1.0, None, None, None, None, results, acknowledged=False
    )


class Backend:
    """A ROUTER in a thread that answers by `script`; None is silence. heard: all that was asked."""

    def __init__(self, port: int = 0) -> None:
        self.script: Script = lambda message: Jobs(())
        self.heard: list[Message] = []
        self.before: list[list[bytes]] = []  # frames to send before the next answer
        self._context: zmq.Context[Any] = zmq.Context()
        self._public, self._secret = zmq.curve_keypair()
        self._client_secret = zmq.curve_keypair()[1]
        self._thread: threading.Thread | None = None
        self.port = port

    @property
    def pairing(self) -> Pairing:
        return Pairing("127.0.0.1", self.port, z85.decode(self._public), z85.decode(self._client_secret))

    def start(self) -> None:
        self._stop = threading.Event()
        router = self._context.socket(zmq.ROUTER)
        router.curve_server, router.curve_secretkey = True, self._secret
        router.zap_domain = b"tests"
        router.linger = 0
        if self.port:
            router.bind(f"tcp://127.0.0.1:{self.port}")
        else:
            self.port = router.bind_to_random_port("tcp://127.0.0.1")
        self._thread = threading.Thread(target=self._serve, args=(router,))
        self._thread.start()

    def stop(self) -> None:
        if self._thread:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        self.stop()
        self._context.term()

    def _serve(self, router: Any) -> None:
        while not self._stop.is_set():
            if router.poll(20):
                peer, *frames = router.recv_multipart()
                number, message = decode(frames)
                self.heard.append(message)
                for more in self.before:
                    router.send_multipart([peer, *more])
                self.before = []
                answer = self.script(message)
                if answer:
                    router.send_multipart([peer, *encode(answer, number)])
        router.close()


@pytest.fixture(autouse=True)
def _long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer comes, however slow the machine is. Where none comes, a test says `impatient`."""
    monkeypatch.setattr(limits, "REPLY_SECONDS", DEADLINE)
    monkeypatch.setattr(limits, "BACKOFF_FIRST_SECONDS", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer comes, and is not waited for."""
    monkeypatch.setattr(limits, "REPLY_SECONDS", 0.3)


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    backend.start()
    yield backend
    backend.close()


@pytest.fixture
def client(backend: Backend) -> Iterator[Client]:
    with Client(backend.pairing, "0.1.0") as client:
        yield client


def test_each_verb_asks_its_question(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Jobs((state(),))
    request = Generation("a red mug")
    assert client.submit((JOB,), request) == (state(),)
    for verb in (client.state, client.cancel, client.acknowledge, client.delete):
        assert verb(JOB) == state()
    assert [message.kind for message in backend.heard] == ["SUBMIT", "STATE", "CANCEL", "ACK", "DELETE"]
    assert backend.heard[0] == Submit((JOB,), request)


def test_hello_tells_the_version(client: Client, backend: Backend, one_of_each: list[Message]) -> None:
    welcome = next(message for message in one_of_each if message.kind == "WELCOME")
    backend.script = lambda message: welcome
    assert client.hello() == welcome
    assert backend.heard == [Hello("0.1.0")]


def test_words_are_fetched_and_read(client: Client, backend: Backend) -> None:
    known = Words(tuple(f"object {number}" for number in range(15_000)), ("red",), ())
    content = known.pack()
    digest = hashlib.sha256(content).hexdigest()
    assert len(content) > limits.CHUNK_BYTES

    def script(message: Message) -> Message:
        assert isinstance(message, Fetch)
        part = content[message.offset : message.offset + message.length]
        return Chunk(digest, message.offset, len(content), part)

    backend.script = script
    assert client.words(Asset("words.json", digest, len(content))) == known


def test_words_other_than_promised_are_refused(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Chunk("ab" * 32, 0, 2, b"{}")
    with pytest.raises(TransferError, match="other bytes"):
        client.words(Asset("words.json", "ab" * 32, 2))
    digest = hashlib.sha256(b"{}").hexdigest()
    backend.script = lambda message: Chunk(digest, 0, 2, b"{}")
    with pytest.raises(ProtocolError, match="these are no words"):
        client.words(Asset("words.json", digest, 2))


def test_lists_are_read_page_by_page(client: Client, backend: Backend) -> None:
    pages = {None: Jobs((state(number=5), state(number=4)), more=True), 4: Jobs((state(number=3),))}
    backend.script = lambda message: pages[message.before] if isinstance(message, GetList) else None
    assert [job.number for job in client.jobs()] == [5, 4, 3]
    backend.script = lambda message: Jobs(())
    assert list(client.jobs()) == []


def test_a_refusal_is_raised(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Refused("invalid", "no", "yes", ("mug",))
    with pytest.raises(Invalid, match="no; yes") as caught:
        client.state(JOB)
    assert caught.value.nearest == ("mug",)


def test_a_message_that_could_not_be_read_is_raised_too(client: Client, backend: Backend) -> None:
    backend.before = [encode(Refused("malformed", "what?", "update"), 0)]
    with pytest.raises(Malformed):
        client.state(JOB)


def test_answers_to_other_questions_are_passed_over(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Jobs((state(),))
    backend.before = [encode(Jobs((state("done"),)), 999), encode(Refused("invalid", "no", ""), 998)]
    assert client.state(JOB) == state()


def test_an_answer_of_another_kind_is_a_protocol_error(client: Client, backend: Backend) -> None:
    backend.script = lambda message: Chunk("ab" * 32, 0, 0)
    with pytest.raises(ProtocolError, match="CHUNK instead of a JOBS"):
        client.state(JOB)


def test_what_is_no_message_is_a_protocol_error(client: Client, backend: Backend) -> None:
    backend.before = [[b"DT\0\3", b"nonsense"]]
    with pytest.raises(ProtocolError):
        client.state(JOB)


# --- links ---


@pytest.mark.usefixtures("impatient")
def test_nobody_there_is_said(backend: Backend) -> None:
    backend.stop()
    with Client(backend.pairing, "0.1.0") as client, pytest.raises(Unreachable, match=f"127.0.0.1:{backend.port}"):
        client.state(JOB)


def test_silence_is_said_and_the_next_question_may_be_answered(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.script = lambda message: None
    monkeypatch.setattr(limits, "REPLY_SECONDS", 0.3)
    with pytest.raises(Unreachable):
        client.state(JOB)
    monkeypatch.setattr(limits, "REPLY_SECONDS", DEADLINE)
    backend.script = lambda message: Jobs((state(),))
    assert client.state(JOB) == state()


def test_another_backend_is_told_from_none(backend: Backend) -> None:
    other = Pairing("127.0.0.1", backend.port, z85.decode(zmq.curve_keypair()[0]), backend.pairing.secret)
    with Client(other, "0.1.0") as client, pytest.raises(WrongBackend):
        client.state(JOB)


def test_an_unknown_key_is_told_at_once(backend: Backend) -> None:
    authenticator = ThreadAuthenticator(backend._context)
    authenticator.start()
    authenticator.configure_curve_callback(domain="tests", credentials_provider=_Nobody())
    try:
        with Client(backend.pairing, "0.1.0") as client, pytest.raises(NotPaired):
            client.state(JOB)
    finally:
        authenticator.stop()


class _Nobody:
    def callback(self, domain: str, key: bytes) -> bool:
        return False


def test_a_lost_connection_is_noticed_at_once(client: Client, backend: Backend) -> None:
    backend.script = lambda message: None
    stopper = threading.Thread(target=lambda: (_until(lambda: bool(backend.heard)), backend.stop()))
    stopper.start()
    with pytest.raises(ConnectionLost):
        client.state(JOB)
    stopper.join()


@pytest.mark.usefixtures("impatient")
def test_patience_mends_what_was_lost(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.stop()
    told: list[LinkError] = []

    def hear(error: LinkError, pause: float) -> None:
        told.append(error)
        if len(told) == 2:
            monkeypatch.setattr(limits, "REPLY_SECONDS", DEADLINE)
            backend.start()

    backend.script = lambda message: Jobs((state(),))
    with Client(backend.pairing, "0.1.0", Patience(None, hear)) as client:
        assert client.state(JOB) == state()
    assert len(told) >= 2


def test_patience_ends(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.script = lambda message: None
    ticks = itertools.count()
    monkeypatch.setattr("shared.client.time", SimpleNamespace(monotonic=lambda: next(ticks)))  # a second a look
    monkeypatch.setattr(limits, "REPLY_SECONDS", 10.0)
    told: list[LinkError] = []
    patience = Patience(30.0, lambda error, pause: told.append(error))
    with Client(backend.pairing, "0.1.0", patience) as client, pytest.raises(Unreachable):
        client.state(JOB)
    assert told


@pytest.mark.usefixtures("impatient")
def test_closing_waits_for_nothing(backend: Backend) -> None:
    backend.stop()
    client = Client(backend.pairing, "0.1.0")
    with pytest.raises(LinkError):
        client.state(JOB)
    closing = threading.Thread(target=client.close, daemon=True)
    closing.start()
    closing.join(DEADLINE)
    assert not closing.is_alive()


@pytest.mark.parametrize("patience", [Patience(), Patience(None)])
def test_another_thread_can_end_a_wait(backend: Backend, patience: Patience) -> None:
    backend.script = lambda message: None
    with Client(backend.pairing, "0.1.0", patience) as client:
        stopper = threading.Thread(target=lambda: (_until(lambda: bool(backend.heard)), client.stop()))
        stopper.start()
        with pytest.raises(Stopped):
            client.state(JOB)
        with pytest.raises(Stopped):
            client.state(JOB)
        stopper.join()


@pytest.mark.usefixtures("impatient")
def test_brackets_stand_around_ipv6(backend: Backend) -> None:
    pairing = Pairing("::1", backend.port, backend.pairing.server_key, backend.pairing.secret)
    with Client(pairing, "0.1.0") as client, pytest.raises(Unreachable, match=rf"\[::1\]:{backend.port}"):
        client.state(JOB)


# --- following ---


def test_following_tells_states_and_progress_until_the_end(client: Client, backend: Backend) -> None:
    live = Live(JOB, 1, "optimising", 1, 2, 3, 4.0, 0, 0)
    others = Live(new_job_id(), 1, "optimising", 1, 2, 3, 4.0, 0, 0)
    news = iter(
        [
            News(BOOT, 0, 0, (), ()),
            News(BOOT, 1, 2, (Event(1, JOB, "running", 1, 1.0),), (live, others)),
            News(BOOT, 1, 2, (Event(1, new_job_id(), "running", 1, 1.0),), ()),
            News(BOOT, 2, 3, (Event(2, JOB, "done", 1, 1.0),), ()),
        ]
    )
    states = iter([state("queued"), state("running"), state("done")])

    def script(message: Message) -> Message:
        return next(news) if isinstance(message, GetEvents) else Jobs((next(states),))

    backend.script = script
    assert list(client.follow(JOB)) == [state("queued"), live, state("running"), state("done")]
    asked = [(m.cursor, m.live, m.wait) for m in backend.heard if isinstance(m, GetEvents)]
    assert asked == [(None, 0, 0.0), (0, 0, 10.0), (1, 2, 10.0), (1, 2, 10.0)]


def test_after_a_restart_the_state_is_asked_anew(client: Client, backend: Backend) -> None:
    news = iter([News(BOOT, 0, 0, (), ()), News(new_job_id(), 0, 0, (), ())])
    states = iter([state("running"), state("done")])
    backend.script = lambda message: (
        next(news)
        if isinstance(message, GetEvents)
        else Jobs((next(states),))
        if isinstance(message, GetState)
        else None
    )
    assert list(client.follow(JOB)) == [state("running"), state("done")]


# --- fetching ---

CONTENT = bytes(range(256)) * 2300  # four chunks and a bit


def asset(content: bytes = CONTENT, name: str = "mesh.glb") -> Asset:
    return Asset(name, hashlib.sha256(content).hexdigest(), len(content))


def serving(content: bytes = CONTENT) -> Script:
    def script(message: Message) -> Message:
        assert isinstance(message, Fetch)
        piece = content[message.offset : message.offset + message.length]
        return Chunk(message.sha256, message.offset, len(content), piece)

    return script


def test_a_file_arrives_whole(client: Client, backend: Backend, tmp_path: Path) -> None:
    backend.script = serving()
    sizes: list[int] = []
    client.fetch(asset(), tmp_path / "mesh.glb", sizes.append)
    assert (tmp_path / "mesh.glb").read_bytes() == CONTENT
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.glb"]
    assert {m.length for m in backend.heard if isinstance(m, Fetch)} == {
        limits.CHUNK_BYTES,
        len(CONTENT) % limits.CHUNK_BYTES,
    }


def test_an_empty_file_is_a_file(client: Client, tmp_path: Path) -> None:
    client.fetch(asset(b""), tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


def part_of(folder: Path) -> Path:
    return folder / f"mesh.glb.{asset().sha256[:12]}.part"


@pytest.mark.parametrize("there", [1, limits.CHUNK_BYTES, len(CONTENT)])
def test_an_interrupted_fetch_goes_on(client: Client, backend: Backend, tmp_path: Path, there: int) -> None:
    part_of(tmp_path).write_bytes(CONTENT[:there])
    backend.script = serving()
    client.fetch(asset(), tmp_path / "mesh.glb")
    assert (tmp_path / "mesh.glb").read_bytes() == CONTENT
    assert all(message.offset >= there for message in backend.heard if isinstance(message, Fetch))


def test_leftovers_that_are_too_long_are_thrown_away(client: Client, backend: Backend, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT + b"!")
    backend.script = serving()
    client.fetch(asset(), tmp_path / "mesh.glb")
    assert (tmp_path / "mesh.glb").read_bytes() == CONTENT


def test_other_bytes_than_promised_are_refused(client: Client, backend: Backend, tmp_path: Path) -> None:
    backend.script = serving(CONTENT[:-1] + b"!")
    with pytest.raises(TransferError, match="other bytes"):
        client.fetch(asset(), tmp_path / "mesh.glb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!"])
def test_another_length_than_promised_is_refused(
    client: Client, backend: Backend, tmp_path: Path, content: bytes
) -> None:
    backend.script = serving(content)
    with pytest.raises(TransferError, match="not as long"):
        client.fetch(asset(), tmp_path / "mesh.glb")
    assert not (tmp_path / "mesh.glb").exists()


@pytest.mark.usefixtures("impatient")
def test_a_fetch_survives_lost_answers(backend: Backend, tmp_path: Path) -> None:
    count = 0

    def script(message: Message) -> Message | None:
        nonlocal count
        count += 1
        return None if count in (2, 7) else serving()(message)

    backend.script = script
    with Client(backend.pairing, "0.1.0", Patience(DEADLINE)) as client:
        client.fetch(asset(), tmp_path / "mesh.glb")
    assert (tmp_path / "mesh.glb").read_bytes() == CONTENT


def test_all_results_are_fetched_and_then_acknowledged(client: Client, backend: Backend, tmp_path: Path) -> None:
    first, second = b"first" * 99, b"second" * 77
    contents = {asset(content).sha256: content for content in (first, second)}

    def script(message: Message) -> Message:
        return serving(contents[message.sha256])(message) if isinstance(message, Fetch) else Jobs((state("done"),))

    backend.script = script
    sizes: list[int] = []
    job = state("done", results=(asset(first, "one"), asset(second, "two")))
    client.fetch_all(job, tmp_path, sizes.append)
    assert ((tmp_path / "one").read_bytes(), (tmp_path / "two").read_bytes()) == (first, second)
    assert sizes == [len(first), len(first) + len(second)]
    assert backend.heard[-1] == Acknowledge(JOB)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_connection_that_breaks_in_the_moment_of_sending_is_waited_for(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, broken = zmq.Socket.send_multipart, [True]

    def send_multipart(self: Any, *arguments: Any, **options: Any) -> Any:
        if broken:
            broken.clear()
            raise zmq.Again
        return send(self, *arguments, **options)

    backend.script = lambda message: Jobs((state(),))
    with monkeypatch.context() as patch:
        patch.setattr(zmq.Socket, "send_multipart", send_multipart)
        assert client.state(JOB) == state()
    assert len(backend.heard) == 1
