"""Coarse preview meshes as bytes: what the service sends, and what the add-on shows while an object grows.

A magic, the numbers of vertices V and triangles F, then V x 3 coordinates (float32), F x 3 indices (uint32) and
V x 3 colours (bytes: red, green, blue), all little-endian.
"""

import math
import struct
from array import array
from dataclasses import dataclass

from .columns import BYTE, FLOAT, UINT32, packed, unpacked
from .limits import COARSE_BYTES

_MAGIC = b"DTC1"
_HEADER = struct.Struct("<4sII")
_VERTEX_BYTES, _TRIANGLE_BYTES = 3 * 4 + 3, 3 * 4


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
    columns = zip((vertices, triangles, colours), (FLOAT, UINT32, BYTE), strict=True)
    content = [packed(column, kind) for column, kind in columns]
    header = _HEADER.pack(_MAGIC, len(content[0]) // (3 * 4), len(content[1]) // _TRIANGLE_BYTES)
    mesh = b"".join([header, *content])
    unpack(mesh)
    return mesh


def unpack(content: bytes) -> CoarseMesh:
    """The mesh in `content`. Raises ValueError for anything that `pack` does not make."""
    if not _HEADER.size <= len(content) <= COARSE_BYTES:
        raise ValueError(f"a coarse mesh of {len(content)} bytes; it has {_HEADER.size} to {COARSE_BYTES}")
    magic, vertices, triangles = _HEADER.unpack_from(content)
    if magic != _MAGIC:
        raise ValueError("no coarse mesh")
    if len(content) != size_of(vertices, triangles):
        raise ValueError(f"{len(content)} bytes do not hold {vertices} vertices and {triangles} triangles")
    if not vertices or not triangles:
        raise ValueError("a coarse mesh without a triangle")
    after_vertices = _HEADER.size + 3 * 4 * vertices
    after_triangles = after_vertices + _TRIANGLE_BYTES * triangles
    mesh = CoarseMesh(
        unpacked(content[_HEADER.size : after_vertices], FLOAT),
        unpacked(content[after_vertices:after_triangles], UINT32),
        unpacked(content[after_triangles:], BYTE),
    )
    if not all(map(math.isfinite, mesh.vertices)):
        raise ValueError("a coordinate that is not finite")
    if max(mesh.triangles) >= vertices:
        raise ValueError("a triangle of a vertex that is not there")
    return mesh
