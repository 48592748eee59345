"""Coarse preview meshes as bytes: what the service sends, and what the add-on shows while an object grows.

A magic, the numbers of vertices V and triangles F, then V x 3 coordinates (float32), F x 3 indices (uint32) and
V x 3 colours (bytes: red, green, blue), all little-endian.
"""

import math
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import Any

from .limits import COARSE_BYTES

_MAGIC = b"DTC1"
_HEADER = struct.Struct("<4sII")
_VERTEX_BYTES, _TRIANGLE_BYTES = 3 * 4 + 3, 3 * 4
_FLOAT, _UINT32, _BYTE = "f", "I", "B"


@dataclass(frozen=True)
class CoarseMesh:
    """vertices: x, y, z of each, in metres, z up. triangles: three vertices of each, counter-clockwise seen from
    outside. colours: red, green, blue of each vertex, display values."""

    vertices: "array[float]"
    triangles: "array[int]"
    colours: "array[int]"


def size_of(vertices: int, triangles: int) -> int:
    """Bytes of a packed mesh."""
    return _HEADER.size + vertices * _VERTEX_BYTES + triangles * _TRIANGLE_BYTES


def pack(vertices: memoryview, triangles: memoryview, colours: memoryview) -> bytes:
    """A mesh as bytes, from contiguous float32, uint32 and uint8 of any shape, three to a vertex or triangle.

    Raises ValueError if that is no mesh, or larger than COARSE_BYTES.
    """
    columns = zip((vertices, triangles, colours), (_FLOAT, _UINT32, _BYTE), strict=True)
    numbers = [_little_endian(_numbers(column, kind)) for column, kind in columns]
    header = _HEADER.pack(_MAGIC, len(numbers[0]) // 3, len(numbers[1]) // 3)
    packed = b"".join([header, *(column.tobytes() for column in numbers)])
    unpack(packed)
    return packed


def unpack(packed: bytes) -> CoarseMesh:
    """The mesh in `packed`. Raises ValueError for anything that `pack` does not make."""
    if not _HEADER.size <= len(packed) <= COARSE_BYTES:
        raise ValueError(f"a coarse mesh of {len(packed)} bytes; it has {_HEADER.size} to {COARSE_BYTES}")
    magic, vertices, triangles = _HEADER.unpack_from(packed)
    if magic != _MAGIC:
        raise ValueError("no coarse mesh")
    if len(packed) != size_of(vertices, triangles):
        raise ValueError(f"{len(packed)} bytes do not hold {vertices} vertices and {triangles} triangles")
    if not vertices or not triangles:
        raise ValueError("a coarse mesh without a triangle")
    after_vertices = _HEADER.size + 3 * 4 * vertices
    after_triangles = after_vertices + _TRIANGLE_BYTES * triangles
    mesh = CoarseMesh(
        _little_endian(array(_FLOAT, packed[_HEADER.size : after_vertices])),
        _little_endian(array(_UINT32, packed[after_vertices:after_triangles])),
        array(_BYTE, packed[after_triangles:]),
    )
    if not all(map(math.isfinite, mesh.vertices)):
        raise ValueError("a coordinate that is not finite")
    if max(mesh.triangles) >= vertices:
        raise ValueError("a triangle of a vertex that is not there")
    return mesh


def _numbers(column: memoryview, kind: str) -> "array[Any]":
    """A copy of `column`, if it is of that kind."""
    if column.format != kind or not column.c_contiguous:
        raise ValueError(f'numbers of format "{column.format}", or with gaps; contiguous "{kind}" are needed')
    return array(kind, column.tobytes())


def _little_endian(numbers: "array[Any]") -> "array[Any]":
    """To and from the order of bytes on the wire, in place."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
