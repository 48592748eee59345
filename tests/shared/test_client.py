"""The client against a backend that does what a test says."""

import hashlib
from pathlib import Path

import pytest

from shared import limits
from shared.assets import Asset
from shared.client import Client
from shared.connection import Patience
from shared.errors import ProtocolError, Spoilt, TransferError
from shared.inputs import Start
from shared.jobs import Event, Generation, Live, new_job_id
from shared.messages import (
    Acknowledge,
    Chunk,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Held,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Upload,
)
from shared.words import Words
from tests.shared.scripted import BOOT, DEADLINE, JOB, Backend, Script, state


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


class Taking:
    """Takes uploads as a backend does. lost: answers that never arrive, by their number."""

    def __init__(self, lost: tuple[int, ...] = (), there: bytes = b"") -> None:
        self.there, self.lost, self.count = there, lost, 0

    def __call__(self, message: Message) -> Message | None:
        assert isinstance(message, Upload)
        self.count += 1
        if message.offset <= len(self.there):
            self.there += message.body[len(self.there) - message.offset :]
        return None if self.count in self.lost else Held(message.sha256, len(self.there))


def picture_of(folder: Path, content: bytes = CONTENT) -> tuple[Start, Path]:
    path = folder / "picture"
    path.write_bytes(content)
    return Start("picture", hashlib.sha256(content).hexdigest(), "front"), path


def test_an_input_is_sent_in_chunks_with_progress(client: Client, backend: Backend, tmp_path: Path) -> None:
    backend.script = taking = Taking()
    sizes: list[int] = []
    client.upload(*picture_of(tmp_path), sizes.append)
    assert taking.there == CONTENT
    assert sizes == [min(n * limits.CHUNK_BYTES, len(CONTENT)) for n in range(taking.count)]


@pytest.mark.parametrize("there", [0, 1, limits.CHUNK_BYTES, len(CONTENT)])
def test_what_the_backend_has_is_not_sent_again(client: Client, backend: Backend, tmp_path: Path, there: int) -> None:
    backend.script = taking = Taking(there=CONTENT[:there])
    client.upload(*picture_of(tmp_path))
    assert taking.there == CONTENT
    assert sum(len(message.body) for message in backend.heard if isinstance(message, Upload)) == len(CONTENT) - there


@pytest.mark.usefixtures("impatient")
def test_an_upload_survives_lost_answers(backend: Backend, tmp_path: Path) -> None:
    backend.script = taking = Taking(lost=(1, 4, 9))
    with Client(backend.pairing, "0.1.0", Patience(None)) as client:
        client.upload(*picture_of(tmp_path))
    assert taking.there == CONTENT


def test_a_spoilt_input_is_sent_once_more_and_then_told(client: Client, backend: Backend, tmp_path: Path) -> None:
    taking, spoilt = Taking(), [True]

    def script(message: Message) -> Message | None:
        held = taking(message)
        if len(taking.there) == len(CONTENT) and spoilt:
            spoilt.pop()
            taking.there = b""
            return Refused("spoilt", "other bytes", "send it again")
        return held

    backend.script = script
    client.upload(*picture_of(tmp_path))
    assert taking.there == CONTENT
    taking.there, spoilt[:] = b"", [True, True]
    with pytest.raises(Spoilt):
        client.upload(*picture_of(tmp_path))


def test_a_backend_that_does_not_take_it_all_is_told(client: Client, backend: Backend, tmp_path: Path) -> None:
    backend.script = lambda message: Held("ab" * 32, 5)
    with pytest.raises(TransferError, match="did not take all of front"):
        client.upload(*picture_of(tmp_path))


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
