"""Messages over a pipe: whole or not at all, and never larger than said."""

import io
import json
import random
import struct
from typing import Any

import pytest

from backend.service.pipe import BLOB_BYTES, Message, PipeError, read, write
from shared.limits import COARSE_BYTES, HEADER_BYTES, PREVIEW_BYTES

MESSAGES = [Message({"is": "ready"}), Message({"is": "advanced", "t": 7, "who": "Zoë"}, bytes(range(256))), Message({})]


def written(*messages: Message) -> bytes:
    stream = io.BytesIO()
    for message in messages:
        write(stream, message)
    return stream.getvalue()


def framed(header: bytes, blob: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(blob)) + header + blob


def test_messages_come_back_in_order_and_then_the_end() -> None:
    stream = io.BytesIO(written(*MESSAGES))
    assert [read(stream) for _ in range(4)] == [*MESSAGES, None]


def test_a_message_that_was_cut_off_is_the_end() -> None:
    whole = written(MESSAGES[1])
    assert {read(io.BytesIO(whole[:length])) for length in range(len(whole))} == {None}


def header_of(size: int) -> dict[str, str]:
    return {"a": "x" * (size - len(json.dumps({"a": ""})))}


def test_the_limits_are_kept_on_both_sides() -> None:
    assert BLOB_BYTES == PREVIEW_BYTES + COARSE_BYTES
    largest = Message(header_of(HEADER_BYTES), bytes(BLOB_BYTES))
    assert read(io.BytesIO(written(largest))) == largest
    for message in (Message(header_of(HEADER_BYTES + 1)), Message({}, bytes(BLOB_BYTES + 1))):
        with pytest.raises(PipeError, match="at most"):
            written(message)
    for sizes in ((HEADER_BYTES + 1, 0), (2, BLOB_BYTES + 1), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(PipeError, match="at most"):  # before anything is read or reserved
            read(io.BytesIO(struct.pack(">II", *sizes)))


@pytest.mark.parametrize("header", [{"a": float("nan")}, {"a": b"bytes"}, {"a": {1, 2}}])
def test_what_is_no_json_is_not_written(header: dict[str, Any]) -> None:
    stream = io.BytesIO()
    with pytest.raises(PipeError, match="no JSON"):
        write(stream, Message(header))
    assert stream.getvalue() == b""


@pytest.mark.parametrize("header", [b"", b"{", b"\xff", b"[1]", b"null", b'"a"', b"[" * 60_000, b"1" * 5000])
def test_what_is_no_message_is_refused(header: bytes) -> None:
    with pytest.raises(PipeError, match="no JSON"):
        read(io.BytesIO(framed(header)))


def test_random_bytes_are_refused_or_a_message_or_the_end() -> None:
    draws = random.Random(0)
    whole = written(*MESSAGES)
    outcomes = set()
    for _ in range(5000):
        damaged = bytearray(whole)
        for _ in range(draws.randrange(1, 4)):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        stream = io.BytesIO(damaged)
        try:
            while (message := read(stream)) is not None:
                assert isinstance(message.header, dict)
                outcomes.add("message")
            outcomes.add("end")
        except PipeError:
            outcomes.add("refused")
    assert outcomes == {"message", "end", "refused"}
