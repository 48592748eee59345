"""Columns of numbers to and from the bytes of a mesh on the wire, little-endian."""

import sys
from array import array
from typing import Any

FLOAT, UINT32, BYTE = "f", "I", "B"


def packed(column: memoryview, kind: str) -> bytes:
    """The bytes of `column`, of any shape. Raises ValueError if its numbers are not of that kind, or have gaps."""
    if column.format != kind or not column.c_contiguous:
        raise ValueError(f'numbers of format "{column.format}", or with gaps; contiguous "{kind}" are needed')
    return _little_endian(array(kind, column.tobytes())).tobytes()


def unpacked(content: bytes, kind: str) -> "array[Any]":
    """The numbers in `content`."""
    return _little_endian(array(kind, content))


def _little_endian(numbers: "array[Any]") -> "array[Any]":
    """To and from the order of bytes on the wire, in place."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
