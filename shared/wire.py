"""Frames: magic and version, a JSON header, and perhaps a body of raw bytes. No I/O.

The first four bytes tell a message of another version, or of another program, before anything is parsed.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from .errors import ProtocolError, VersionError
from .limits import BODY_BYTES, FRAMES, HEADER_BYTES, JSON_DEPTH

VERSION = 5

_MAGIC = b"DT"
_LARGEST_INTEGER = 2**63 - 1


def pack(header: dict[str, Any], body: bytes = b"") -> list[bytes]:
    """The frames of a message. Raises ProtocolError if it is larger than the other side takes."""
    try:
        text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(
            "the message cannot be written (a text holds half of a surrogate pair)",
            "type it anew; in a terminal, under a locale of UTF-8 such as LC_ALL=C.UTF-8",
        ) from error
    except ValueError as error:  # NaN
        raise ProtocolError(f"the message cannot be written ({_reason(error)})", "give another number") from error
    if len(text) > HEADER_BYTES or len(body) > BODY_BYTES:
        raise ProtocolError(f"the message is too large ({len(text)} bytes of header, {len(body)} of body)")
    frames = [_MAGIC + VERSION.to_bytes(2, "big"), text]
    return [*frames, body] if body else frames


def unpack(frames: Sequence[bytes]) -> tuple[dict[str, Any], bytes]:
    """The header and the body of a message. Raises ProtocolError, and nothing else, whatever the frames are."""
    if not 2 <= len(frames) <= FRAMES:
        raise ProtocolError(f"a message has 2 or {FRAMES} frames, not {len(frames)}")
    magic, text, *rest = frames
    if len(magic) != len(_MAGIC) + 2 or not magic.startswith(_MAGIC):
        raise ProtocolError("this is no message of DreamTime")
    version = int.from_bytes(magic[len(_MAGIC) :], "big")
    if version != VERSION:
        raise VersionError(version, VERSION)
    body = rest[0] if rest else b""
    if len(text) > HEADER_BYTES or len(body) > BODY_BYTES:
        raise ProtocolError(f"the message is too large ({len(text)} bytes of header, {len(body)} of body)")
    return parsed(text), body


def parsed(text: bytes) -> dict[str, Any]:
    """The JSON object in `text`, as every program reads it. Raises ProtocolError, and nothing else."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_not_finite)
    except RecursionError as error:
        raise ProtocolError("the header is nested too deeply") from error
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise ProtocolError(f"the header is no JSON ({_reason(error)})") from error
    if not isinstance(header, dict):
        raise ProtocolError("the header is no JSON object")
    _check(header, JSON_DEPTH)
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values under one key would be read differently by different programs."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check(value: Any, depth: int) -> None:
    """Refuse what is JSON but would trip whoever stores, shows or passes it on."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ProtocolError("a text holds half of a surrogate pair")
        if "\0" in value:
            raise ProtocolError("a text holds a zero")
    elif isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise ProtocolError("a number is too large")
    elif isinstance(value, float):
        if not math.isfinite(value):  # 1e999
            raise ProtocolError("a number is too large")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise ProtocolError("the header is nested too deeply")
        if isinstance(value, dict):
            for key in value:
                _check(key, depth)
        for part in value.values() if isinstance(value, dict) else value:
            _check(part, depth - 1)


def _reason(error: ValueError) -> str:
    return str(error)[:100]
