"""Messages and their frames."""

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import Invalid, ProtocolError
from shared.jobs import Live, new_job_id
from shared.limits import HEADER_BYTES, VARIATIONS
from shared.messages import (
    ANSWERS,
    REQUESTS,
    Chunk,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Upload,
    decode,
    encode,
)

MAGIC = b"DT\x00\x05"


def test_every_kind_comes_back_equal(one_of_each: list[Message]) -> None:
    assert {type(message) for message in one_of_each} == {*REQUESTS, *ANSWERS}
    for message in one_of_each:
        assert decode(encode(message, 42)) == (42, message)


@pytest.mark.parametrize(
    ("header", "body", "told"),
    [
        ({"number": 1}, b"", "no known kind"),
        ({"kind": "NONSENSE", "number": 1}, b"", "no known kind"),
        ({"kind": ["HELLO"], "number": 1}, b"", "no known kind"),
        ({"kind": "HELLO", "version": "1"}, b"", "no number"),
        ({"kind": "HELLO", "version": "1", "number": True}, b"", "no number"),
        ({"kind": "HELLO", "version": "1", "number": -1}, b"", "no number"),
        ({"kind": "HELLO", "version": "1", "number": 2**53}, b"", "no number"),
        ({"kind": "HELLO", "number": 1}, b"", "this is no HELLO: a Hello lacks version"),
        ({"kind": "HELLO", "version": "1", "number": 1, "more": 2}, b"", "this is no HELLO"),
        ({"kind": "HELLO", "version": "1", "number": 1}, b"x", "a HELLO has no body"),
        ({"kind": "STATE", "job": "../../etc/passwd", "number": 1}, b"", "this is no STATE"),
        (
            {"kind": "CHUNK", "sha256": "ab" * 32, "offset": 0, "size": 1, "body": "x", "number": 1},
            b"",
            "in the header",
        ),
    ],
)
def test_anything_else_is_a_protocol_error(header: dict[str, Any], body: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        decode([MAGIC, json.dumps(header).encode(), *([body] if body else [])])


def test_a_chunk_may_be_empty() -> None:
    chunk = Chunk("ab" * 32, 0, 0)
    assert decode(encode(chunk, 1)) == (1, chunk)


def test_an_upload_ends_where_the_input_does() -> None:
    Upload("mesh", "ab" * 32, 8, 3, b"bytes")
    with pytest.raises(ValueError, match="behind the input's end"):
        Upload("mesh", "ab" * 32, 7, 3, b"bytes")


def test_one_id_cannot_stand_for_two_jobs(one_of_each: list[Message]) -> None:
    submit = next(message for message in one_of_each if isinstance(message, Submit))
    with pytest.raises(ValueError, match="twice"):
        replace(submit, jobs=submit.jobs[:1] * 2)


def test_pictures_are_cut_out_of_the_body() -> None:
    first, second = new_job_id(), new_job_id()
    running = (
        Live(first, 1, "optimising", 1, 2, 3, None, preview=2, coarse=0),
        Live(second, 1, "baking", None, None, None, None, preview=1, coarse=3),
    )
    news = News(new_job_id(), 0, 0, (), running, b"aabccc")
    assert news.pictures() == {first: (b"aa", b""), second: (b"b", b"ccc")}
    with pytest.raises(ValueError, match="another size"):
        replace(news, body=b"aabcc")


def test_a_refusal_crosses_the_wire() -> None:
    _, message = decode(encode(Refused.because(Invalid("the prompt is empty", "type one")), 1))
    assert isinstance(message, Refused)
    error = message.error()
    assert type(error) is Invalid
    assert str(error) == "the prompt is empty; type one"


def test_the_longest_answer_to_a_submission_fits(one_of_each: list[Message]) -> None:
    """All variations, with prompts and warnings of the longest kind: four bytes in each character."""
    state = next(message for message in one_of_each if isinstance(message, Jobs)).jobs[0]
    longest = "\U0001f600" * 300
    state = replace(
        state, request=replace(state.request, prompt=longest, negative=longest), warnings=(longest,) * 2, results=()
    )
    frames = encode(Jobs((state,) * VARIATIONS), 1)
    assert len(frames[1]) <= HEADER_BYTES


def test_kinds_have_names_of_their_own() -> None:
    kinds = [message.kind for message in (*REQUESTS, *ANSWERS)]
    assert len(set(kinds)) == len(kinds)
    assert Hello.kind == "HELLO"
