"""Meshes on their way to the backend: what is packed comes back, and nothing else passes."""

import math
import random
import struct
from array import array

import pytest

from shared import meshes
from shared.limits import MESH_TRIANGLES, MESH_VERTICES
from shared.meshes import HEADER_BYTES, check, pack, unpack

VERTICES = array("f", [0, 0, 0, 1, 0, 0, 0, 1, 0, 0.25, 0.5, -1])
TRIANGLES = array("I", [0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3])
UVS = array("f", [0.5] * 24)
MASK = array("B", [1, 0, 0, 1])


def packed(**columns: array) -> bytes:
    given = {"vertices": VERTICES, "triangles": TRIANGLES, **columns}
    return pack(**{name: memoryview(column) for name, column in given.items()})


def header(vertices: int, triangles: int, flags: int = 0) -> bytes:
    return struct.pack("<4sIII", b"DTM1", vertices, triangles, flags)


@pytest.mark.parametrize("columns", [{}, {"uvs": UVS}, {"mask": MASK}, {"uvs": UVS, "mask": MASK}])
def test_what_is_packed_comes_back(columns: dict[str, array]) -> None:
    mesh = unpack(packed(**columns))
    assert (mesh.vertices, mesh.triangles) == (VERTICES, TRIANGLES)
    assert (mesh.uvs, mesh.mask) == (columns.get("uvs"), columns.get("mask"))


@pytest.mark.parametrize(
    "columns",
    [
        {"vertices": array("d", VERTICES)},
        {"vertices": VERTICES[:-1]},
        {"vertices": array("f", [math.nan] * 12)},
        {"vertices": array("f", [math.inf, -math.inf] * 6)},
        {"vertices": array("f")},
        {"triangles": TRIANGLES[:-1]},
        {"triangles": array("I")},
        {"triangles": array("I", [0, 1, 4])},
        {"uvs": UVS[:-2]},
        {"uvs": array("f", [*UVS[:-1], math.nan])},
        {"mask": MASK[:-1]},
        {"mask": array("B", [0, 0, 0, 0])},
        {"mask": array("B", [1, 0, 0, 2])},
    ],
)
def test_what_is_no_mesh_is_not_packed(columns: dict[str, array]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each with a sentence of its own
        packed(**columns)


def test_the_largest_numbers_are_finite() -> None:
    largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
    assert unpack(packed(vertices=array("f", [largest] * 12))).vertices[0] == largest


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_mesh_has_limits(more: int) -> None:
    vertices, triangles = MESH_VERTICES + more, MESH_TRIANGLES + more
    for counts in ((vertices, 1), (1, triangles)):
        beginning = header(*counts)
        size = HEADER_BYTES + 12 * sum(counts)
        if more > 0:
            with pytest.raises(ValueError, match="it may have 1,000,000"):
                check(beginning, size)
        else:
            check(beginning, size)
    assert header(MESH_VERTICES, MESH_TRIANGLES, 3)[:4] == b"DTM1"
    check(header(MESH_VERTICES, MESH_TRIANGLES, 3), meshes.MOST_BYTES)


def test_a_header_that_does_not_fit_is_told_before_the_rest_is_there() -> None:
    for beginning, size in ((header(4, 4), 100), (header(4, 4, 4), 112), (b"DTC1" + bytes(12), 16), (b"DTM1", 4)):
        with pytest.raises(ValueError, match=r"mesh|hold"):
            check(beginning, size)


def test_whatever_the_bytes_there_is_a_mesh_or_a_value_error() -> None:
    draw, content = random.Random(0), packed(uvs=UVS, mask=MASK)
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(changed))
            if draw.random() < 0.8:
                changed[place] = draw.randrange(256)
            else:
                del changed[place : place + draw.randint(1, 9)]
        try:
            mesh = unpack(bytes(changed))
        except ValueError:
            continue
        assert max(mesh.triangles) < len(mesh.vertices) // 3
