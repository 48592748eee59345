"""An artist's mesh as bytes: what is sent to be painted, or made something of. Never a file of Blender's.

A magic, the numbers of vertices V and triangles F, and flags; then V x 3 coordinates (float32), F x 3 indices
(uint32), and, where the flags say so, 3 F x 2 texture coordinates (float32), one for each corner, and F bytes, 1 for
each triangle that may be painted. All little-endian.
"""

import math
import struct
from array import array
from dataclasses import dataclass
from itertools import pairwise

from .columns import BYTE, FLOAT, UINT32, packed, unpacked
from .limits import MESH_TRIANGLES, MESH_VERTICES

_MAGIC = b"DTM1"
_HEADER = struct.Struct("<4sIII")
_UVS, _MASK = 1, 2
_VERTEX_BYTES, _TRIANGLE_BYTES, _UV_BYTES, _MASK_BYTES = 3 * 4, 3 * 4, 3 * 2 * 4, 1

HEADER_BYTES = _HEADER.size
MOST_BYTES = HEADER_BYTES + MESH_VERTICES * _VERTEX_BYTES + MESH_TRIANGLES * (_TRIANGLE_BYTES + _UV_BYTES + _MASK_BYTES)
"""Of a packed mesh."""


@dataclass(frozen=True)
class Mesh:
    """vertices: x, y, z of each, in metres, z up. triangles: three vertices of each, counter-clockwise seen from
    outside. uvs: u, v of each corner, v upwards, or None. mask: 1 for each triangle that may be painted; None: all.
    """

    vertices: "array[float]"
    triangles: "array[int]"
    uvs: "array[float] | None"
    mask: "array[int] | None"


def pack(
    vertices: memoryview, triangles: memoryview, uvs: memoryview | None = None, mask: memoryview | None = None
) -> bytes:
    """A mesh as bytes, from contiguous float32, uint32, float32 and uint8 of any shape.

    Raises ValueError if that is no mesh, or a larger one than the limits allow.
    """
    columns = [(vertices, FLOAT), (triangles, UINT32)]
    columns += [(column, kind) for column, kind in ((uvs, FLOAT), (mask, BYTE)) if column is not None]
    content = [packed(column, kind) for column, kind in columns]
    flags = (_UVS if uvs is not None else 0) | (_MASK if mask is not None else 0)
    counts = len(content[0]) // _VERTEX_BYTES, len(content[1]) // _TRIANGLE_BYTES
    mesh = b"".join([_HEADER.pack(_MAGIC, *counts, flags), *content])
    unpack(mesh)
    return mesh


def check(beginning: bytes, size: int) -> None:
    """Raise ValueError if a file of `size` bytes that begins so is no mesh, as far as its header tells."""
    if len(beginning) < HEADER_BYTES:
        raise ValueError("a mesh that is cut off")
    magic, vertices, triangles, flags = _HEADER.unpack_from(beginning)
    if magic != _MAGIC or flags & ~(_UVS | _MASK):
        raise ValueError("no mesh")
    if not 1 <= vertices <= MESH_VERTICES or not 1 <= triangles <= MESH_TRIANGLES:
        raise ValueError(
            f"a mesh of {vertices:,} vertices and {triangles:,} triangles; it may have {MESH_VERTICES:,} and "
            f"{MESH_TRIANGLES:,}, and has to have one"
        )
    if size != _ends(vertices, triangles, flags)[-1]:
        raise ValueError(f"{size} bytes do not hold {vertices} vertices and {triangles} triangles")


def unpack(content: bytes) -> Mesh:
    """The mesh in `content`. Raises ValueError for anything that `pack` does not make."""
    check(content[:HEADER_BYTES], len(content))
    _, count, triangles, flags = _HEADER.unpack_from(content)
    ends = _ends(count, triangles, flags)
    columns = [content[begin:end] for begin, end in pairwise(ends)]
    mesh = Mesh(
        unpacked(columns[0], FLOAT),
        unpacked(columns[1], UINT32),
        unpacked(columns[2], FLOAT) if flags & _UVS else None,
        unpacked(columns[3], BYTE) if flags & _MASK else None,
    )
    # A sum of so few float32 cannot overflow, and is finite if, and only if, all of them are.
    if not math.isfinite(sum(mesh.vertices)) or not math.isfinite(sum(mesh.uvs or ())):
        raise ValueError("a coordinate that is not finite")
    if max(mesh.triangles) >= count:
        raise ValueError("a triangle of a vertex that is not there")
    if mesh.mask is not None and (max(mesh.mask) > 1 or not any(mesh.mask)):
        raise ValueError("a mask that marks no triangle, or marks one with another number than 1")
    return mesh


def _ends(vertices: int, triangles: int, flags: int) -> tuple[int, ...]:
    """Where the header and each column end; those that are not there are empty."""
    after_vertices = HEADER_BYTES + vertices * _VERTEX_BYTES
    after_triangles = after_vertices + triangles * _TRIANGLE_BYTES
    after_uvs = after_triangles + (triangles * _UV_BYTES if flags & _UVS else 0)
    after_mask = after_uvs + (triangles * _MASK_BYTES if flags & _MASK else 0)
    return HEADER_BYTES, after_vertices, after_triangles, after_uvs, after_mask
