"""Inputs: in chunks, resumable, nobody else's, whole or not to be begun from."""

import errno
import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.service import inputs
from backend.service.inputs import FOLDER, UNFINISHED_SECONDS
from backend.service.store import Store
from shared.errors import Invalid, Spoilt, Storage, TooMuch, UnknownInput
from shared.inputs import MESH, PICTURE, Start
from shared.jobs import Generation, new_job_id
from shared.limits import INPUTS, PICTURE_BYTES
from shared.messages import Upload
from tests.service.stored import ANA, BEN

MONTH = 30 * 24 * 3600.0


def picture(number: int = 0, size: int = 1000) -> bytes:
    """A PNG as far as its header tells."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0)
    return header + struct.pack(">I", number) + bytes(size - len(header) - 4)


def start_of(content: bytes, sort: str = PICTURE) -> Start:
    return Start(sort, hashlib.sha256(content).hexdigest(), "front")


def chunks(content: bytes, start: Start | None = None, length: int = 300) -> Iterator[Upload]:
    start = start or start_of(content)
    for offset in range(0, len(content), length):
        yield Upload(start.sort, start.sha256, len(content), offset, content[offset : offset + length])


def ask(content: bytes) -> Upload:
    return replace(next(chunks(content)), body=b"")


def sent(store: Store, content: bytes, owner: str = ANA) -> Start:
    for message in chunks(content):
        store.inputs.receive(owner, message)
    return start_of(content)


def submit(store: Store, start: Start, owner: str = ANA, id: str | None = None) -> int:
    return store.submit(owner, [id or new_job_id()], Generation("a mug", start=start), [])[0].number


def files(store: Store) -> list[Path]:
    return sorted((store.folder / FOLDER).iterdir())


def test_what_was_sent_in_chunks_is_there_for_a_job(store: Store) -> None:
    content = picture()
    assert [store.inputs.receive(ANA, message) for message in chunks(content)] == [300, 600, 900, 1000]
    submit(store, start_of(content))
    path = store.inputs.path(ANA, start_of(content))
    assert path
    assert path.read_bytes() == content


def test_a_cut_costs_only_what_was_under_way(store: Store, clock: Any) -> None:
    content = picture()
    first, second, third, last = chunks(content)
    assert store.inputs.receive(ANA, ask(content)) == 0
    store.inputs.receive(ANA, first)
    store.inputs.receive(ANA, second)
    store.close()
    again = Store(store.folder, clock)
    again.recover()
    assert again.inputs.receive(ANA, ask(content)) == 600
    assert again.inputs.receive(ANA, last) == 600, "it would leave a gap"
    assert again.inputs.receive(ANA, first) == 600, "it is there"
    assert again.inputs.receive(ANA, replace(third, offset=500, body=content[500:900])) == 900, "part of it is there"
    assert again.inputs.receive(ANA, last) == 1000
    assert again.inputs.receive(ANA, ask(content)) == 1000
    assert again.inputs.path(ANA, start_of(content))
    again.close()


def test_jobs_begin_only_from_what_is_all_there(store: Store) -> None:
    content = picture()
    first, *rest = chunks(content)
    with pytest.raises(UnknownInput):
        submit(store, start_of(content))
    store.inputs.receive(ANA, first)
    with pytest.raises(UnknownInput):
        submit(store, start_of(content))
    for message in rest:
        store.inputs.receive(ANA, message)
    with pytest.raises(UnknownInput):
        submit(store, start_of(content, MESH))
    submit(store, start_of(content))


def test_nobody_uses_the_inputs_of_others(store: Store) -> None:
    start = sent(store, picture())
    assert store.inputs.path(BEN, start) is None
    assert store.inputs.receive(BEN, ask(picture())) == 0, "not even that they are there is told"
    with pytest.raises(UnknownInput):
        submit(store, start, BEN)
    sent(store, picture(), BEN)
    assert store.inputs.path(BEN, start) != store.inputs.path(ANA, start)
    assert len(files(store)) == 2


def test_asking_again_for_a_job_whose_input_is_gone_is_answered(store: Store) -> None:
    start, id = sent(store, picture()), new_job_id()
    number = submit(store, start, id=id)
    store.cancel(ANA, id)
    store.inputs.settle(0.0)
    store.inputs.drop_older(MONTH + 1, MONTH)
    assert files(store) == []
    assert submit(store, start, id=id) == number
    with pytest.raises(UnknownInput):
        submit(store, start)


def test_other_bytes_than_announced_are_forgotten(store: Store) -> None:
    content, other = picture(), picture(1)
    *most, last = chunks(other, start_of(content))
    for message in most:
        store.inputs.receive(ANA, message)
    with pytest.raises(Spoilt, match="other bytes than announced"):
        store.inputs.receive(ANA, last)
    assert files(store) == []
    assert store.inputs.receive(ANA, ask(content)) == 0
    sent(store, content)
    submit(store, start_of(content))


@pytest.mark.parametrize("content", [b"GIF89a" + bytes(100), b"DTM1" + bytes(100), picture()[:20] + bytes(80)])
def test_what_is_no_input_is_refused_and_forgotten(store: Store, content: bytes) -> None:
    with pytest.raises(Invalid, match="no input that a job can begin from"):
        sent(store, content)
    assert files(store) == []


def test_what_is_too_large_is_refused_before_it_is_sent(store: Store) -> None:
    announced = replace(ask(picture()), size=PICTURE_BYTES + 1)
    with pytest.raises(Invalid, match="it may have"):
        store.inputs.receive(ANA, announced)
    store.inputs.receive(ANA, replace(announced, size=PICTURE_BYTES))


def test_one_digest_stands_for_one_input(store: Store) -> None:
    content = picture()
    store.inputs.receive(ANA, next(chunks(content)))
    for wrong in ({"size": 999}, {"sort": MESH}):
        with pytest.raises(Invalid, match="another input"):
            store.inputs.receive(ANA, replace(ask(content), **wrong))


def test_the_ones_used_least_recently_make_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "INPUTS_BYTES", 3000)
    first, second, third = (sent(store, picture(number)) for number in range(3))
    assert store.inputs.receive(ANA, ask(picture(0))) == 1000  # a client asks before it submits
    fourth = sent(store, picture(3))
    assert [store.inputs.path(ANA, start) is not None for start in (first, second, third, fourth)] == [1, 0, 1, 1]
    assert len(files(store)) == 3
    sent(store, picture(1), BEN)  # who has room of his own


def test_what_jobs_wait_for_makes_no_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "INPUTS_BYTES", 3000)
    starts = [sent(store, picture(number)) for number in range(3)]
    numbers = [submit(store, start) for start in starts]
    with pytest.raises(TooMuch):
        sent(store, picture(3))
    assert len(files(store)) == 3
    store.cancel(ANA, store.jobs.row(numbers[1]).id)
    sent(store, picture(3))
    assert [store.inputs.path(ANA, start) is not None for start in starts] == [True, False, True]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_number_of_inputs_has_a_limit(store: Store, more: int) -> None:
    for number in range(INPUTS + more):
        store.inputs.receive(ANA, ask(picture(number, 100)))
    (count,) = store._database.execute("SELECT count(*) FROM inputs").fetchone()
    assert count == min(INPUTS, INPUTS + more)


def test_what_nobody_used_for_long_is_removed(store: Store) -> None:
    needed, unused = sent(store, picture(0)), sent(store, picture(1))
    submit(store, needed)
    store.inputs.receive(ANA, next(chunks(picture(2))))
    store.inputs.settle(100.0)
    store.inputs.drop_older(100.0 + UNFINISHED_SECONDS, MONTH)
    assert len(files(store)) == 3
    store.inputs.drop_older(101.0 + UNFINISHED_SECONDS, MONTH)
    assert store.inputs.receive(ANA, ask(picture(2))) == 0, "what was sent in part is kept for a day"
    store.inputs.drop_older(101.0 + MONTH, MONTH)
    assert (store.inputs.path(ANA, needed) is not None, store.inputs.path(ANA, unused)) == (True, None)


def test_a_full_disk_is_said_and_the_rest_can_be_sent_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    content = picture()
    first, *rest = chunks(content)
    store.inputs.receive(ANA, first)

    def no_room(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(inputs, "to_disk", no_room)
        for message in rest[:-1]:
            store.inputs.receive(ANA, message)
        with pytest.raises(Storage, match="disk is full"):
            store.inputs.receive(ANA, rest[-1])
        with pytest.raises(UnknownInput):
            submit(store, start_of(content))
    assert store.inputs.receive(ANA, ask(content)) == 1000
    submit(store, start_of(content))


def test_a_chunk_that_was_half_written_is_completed(store: Store) -> None:
    content = picture()
    first, second, *rest = chunks(content)
    store.inputs.receive(ANA, first)
    with files(store)[0].open("ab") as file:  # the server was killed, or the disk was full, in the middle of it
        file.write(second.body[:100])
    assert store.inputs.receive(ANA, ask(content)) == 400
    for message in (second, *rest):
        store.inputs.receive(ANA, message)
    submit(store, start_of(content))


def test_files_that_vanished_are_sent_again(store: Store) -> None:
    sent(store, picture())
    files(store)[0].unlink()
    assert store.inputs.receive(ANA, ask(picture())) == 0
    store.inputs.receive(ANA, next(chunks(picture())))
    with pytest.raises(UnknownInput):
        submit(store, start_of(picture()))
    submit(store, sent(store, picture()))
    assert files(store)[0].read_bytes() == picture()


def test_files_that_nobody_knows_are_removed_at_a_start(store: Store) -> None:
    sent(store, picture())
    stray = store.folder / FOLDER / "99"
    stray.write_bytes(b"of a row that was removed")
    store.recover()
    assert stray not in files(store)
    assert len(files(store)) == 1


def test_any_order_of_chunks_gives_the_whole_input_or_none(store: Store) -> None:
    draw, content = random.Random(0), picture(7, 2000)
    pieces = list(chunks(content, length=170))
    for _ in range(400):
        there = store.inputs.receive(ANA, draw.choice([*pieces, ask(content)]))
        assert b"".join(path.read_bytes() for path in files(store)) == content[:there]
        if there == len(content):
            break
    for message in pieces:
        store.inputs.receive(ANA, message)
    assert files(store)[0].read_bytes() == content
