"""Frames."""

import json
from typing import Any

import pytest

from shared.errors import ProtocolError, VersionError
from shared.limits import BODY_BYTES, HEADER_BYTES, JSON_DEPTH
from shared.wire import VERSION, pack, unpack

MAGIC = b"DT\x00\x05"


@pytest.mark.parametrize(
    "header", [{}, {"a": 1, "b": [None, True, -2.5], "c": {"d": "\u00e4\U0001f600"}}, {"n": 2**63 - 1}]
)
@pytest.mark.parametrize("body", [b"", b"\0\xff"])
def test_what_is_packed_is_unpacked(header: dict[str, Any], body: bytes) -> None:
    assert unpack(pack(header, body)) == (header, body)


def test_the_first_frame_is_magic_and_version() -> None:
    assert pack({})[0] == MAGIC
    assert VERSION == 5


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ([], "2 or 3 frames, not 0"),
        ([MAGIC], "not 1"),
        ([MAGIC, b"{}", b"", b""], "not 4"),
        ([b"", b"{}"], "no message of DreamTime"),
        ([b"HTTP", b"{}"], "no message of DreamTime"),
        ([MAGIC + b"\0", b"{}"], "no message of DreamTime"),
        ([MAGIC, b""], "no JSON"),
        ([MAGIC, b"{"], "no JSON"),
        ([MAGIC, b"\xff{}"], "no JSON"),
        ([MAGIC, b"[]"], "no JSON object"),
        ([MAGIC, b'{"a":1,"a":2}'], "twice"),
        ([MAGIC, b'{"a":{"b":1,"b":1}}'], "twice"),
        ([MAGIC, b'{"a":NaN}'], "NaN is no number"),
        ([MAGIC, b'{"a":-Infinity}'], "-Infinity is no number"),
        ([MAGIC, b'{"a":1e999}'], "too large"),
        ([MAGIC, b'{"a":9223372036854775808}'], "too large"),
        ([MAGIC, b'{"a":' + b"9" * 5000 + b"}"], "no JSON"),
        ([MAGIC, b'{"a":"\\ud800"}'], "surrogate"),
        ([MAGIC, b'{"\\udfff":1}'], "surrogate"),
        ([MAGIC, b'{"a":"\\u0000"}'], "zero"),
        ([MAGIC, b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"], "nested too deeply"),
    ],
)
def test_anything_else_is_a_protocol_error(frames: list[bytes], told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        unpack(frames)


@pytest.mark.parametrize("version", [0, 1, 2, 65535])
def test_another_version_is_told_before_anything_is_parsed(version: int) -> None:
    with pytest.raises(VersionError) as caught:
        unpack([b"DT" + version.to_bytes(2, "big"), b"\xff no JSON"])
    assert caught.value.theirs == version


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_sizes_have_limits_on_both_sides(more: int, fits: bool) -> None:
    empty = len(json.dumps({"a": ""}, separators=(",", ":")))
    header = {"a": "x" * (HEADER_BYTES - empty + more)}
    text = json.dumps(header, separators=(",", ":")).encode()
    body = bytes(BODY_BYTES + more)
    if fits:
        assert unpack(pack(header, body)) == (header, body)
        return
    for frames in ([MAGIC, text], [MAGIC, b"{}", body]):
        with pytest.raises(ProtocolError, match="too large"):
            unpack(frames)
    with pytest.raises(ProtocolError, match="too large"):
        pack(header)
    with pytest.raises(ProtocolError, match="too large"):
        pack({}, body)


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_depth_has_a_limit(more: int, fits: bool) -> None:
    nested: Any = 1
    for _ in range(JSON_DEPTH - 1 + more):  # the header itself is one level
        nested = [nested]
    frames = [MAGIC, json.dumps({"a": nested}).encode()]
    if fits:
        assert unpack(frames)[0] == {"a": nested}
    else:
        with pytest.raises(ProtocolError, match="nested too deeply"):
            unpack(frames)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_the_other_side_would_refuse_is_not_sent(value: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot be written"):
        pack({"a": value})
