"""Messages over a pipe between a process and its child: a JSON header and raw bytes, each with its length before it."""

import json
import struct
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

from shared.limits import COARSE_BYTES, HEADER_BYTES, PREVIEW_BYTES

BLOB_BYTES = PREVIEW_BYTES + COARSE_BYTES
"""The raw bytes of one message: a preview and a coarse mesh."""

_LENGTHS = struct.Struct(">II")


class PipeError(Exception):
    """What came through the pipe, or was to go through it, is no message."""


@dataclass(frozen=True)
class Message:
    """One message. header: JSON-compatible. blob: at most BLOB_BYTES."""

    header: dict[str, Any]
    blob: bytes = b""


def write(stream: BufferedIOBase, message: Message) -> None:
    """Write `message` and see it out. Raises PipeError if it is too large or no JSON, OSError if nobody reads."""
    try:
        header = json.dumps(message.header, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise PipeError(f"a header is no JSON: {error}") from error
    _check_sizes(len(header), len(message.blob))
    stream.write(_LENGTHS.pack(len(header), len(message.blob)) + header + message.blob)
    stream.flush()


def read(stream: BufferedIOBase) -> Message | None:
    """The next message; None at the end of the stream, also in the middle of a message: its writer died.

    Raises PipeError for anything that `write` does not write.
    """
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_size, blob_size = _LENGTHS.unpack(lengths)
    _check_sizes(header_size, blob_size)
    body = stream.read(header_size + blob_size)
    if len(body) < header_size + blob_size:
        return None
    try:
        header = json.loads(body[:header_size])
    except (ValueError, RecursionError) as error:
        raise PipeError(f"a header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise PipeError("a header is no JSON object")
    return Message(header, body[header_size:])


def _check_sizes(header: int, blob: int) -> None:
    if header > HEADER_BYTES or blob > BLOB_BYTES:
        raise PipeError(f"a message of {header} and {blob} bytes; at most {HEADER_BYTES} and {BLOB_BYTES} are allowed")
