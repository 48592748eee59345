"""Coarse meshes: what is packed comes back, and nothing else passes."""

import math
import random
import struct
import sys
from array import array

import pytest

from shared import coarse
from shared.coarse import pack, size_of, unpack
from shared.limits import COARSE_BYTES

VERTICES = array("f", [0, 0, 0, 1, 0, 0, 0, 1, 0, 0.25, 0.5, -1])
TRIANGLES = array("I", [0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3])
COLOURS = array("B", range(12))
PACKED = pack(memoryview(VERTICES), memoryview(TRIANGLES), memoryview(COLOURS))


def with_bytes(offset: int, data: bytes) -> bytes:
    return PACKED[:offset] + data + PACKED[offset + len(data) :]


def test_what_is_packed_comes_back() -> None:
    mesh = unpack(PACKED)
    assert (mesh.vertices, mesh.triangles, mesh.colours) == (VERTICES, TRIANGLES, COLOURS)
    assert len(PACKED) == size_of(4, 4) == 12 + 4 * 15 + 4 * 12


def test_the_bytes_are_little_endian_whatever_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PACKED[:12] == b"DTC1" + bytes([4, 0, 0, 0, 4, 0, 0, 0])
    assert PACKED[24:28] == struct.pack("<f", 1.0)
    monkeypatch.setattr(sys, "byteorder", "big")
    swapped = unpack(with_bytes(60, bytes(48)))  # indices that are the same in either order
    assert swapped.vertices[3] == struct.unpack(">f", PACKED[24:28])[0]


def test_buffers_of_any_shape_are_taken() -> None:
    shaped = memoryview(VERTICES).cast("B").cast("f", (4, 3))
    assert pack(shaped, memoryview(TRIANGLES), memoryview(COLOURS)) == PACKED


@pytest.mark.parametrize(
    ("vertices", "triangles", "colours"),
    [
        (array("d", VERTICES), TRIANGLES, COLOURS),
        (VERTICES, array("i", TRIANGLES), COLOURS),
        (VERTICES, TRIANGLES, array("f", COLOURS)),
        (VERTICES[:-1], TRIANGLES, COLOURS),
        (VERTICES, TRIANGLES[:-1], COLOURS),
        (VERTICES, TRIANGLES, COLOURS[:-1]),
        (VERTICES, array("I"), COLOURS),
        (array("f"), TRIANGLES, array("B")),
        (VERTICES, array("I", [0, 1, 4]), COLOURS),
        (array("f", [math.nan] * 12), TRIANGLES, COLOURS),
        (array("f", [math.inf] * 12), TRIANGLES, COLOURS),
    ],
)
def test_what_is_no_mesh_is_not_packed(vertices: array, triangles: array, colours: array) -> None:
    with pytest.raises(ValueError, match=r"mesh|bytes|format|finite|vertex"):
        pack(memoryview(vertices), memoryview(triangles), memoryview(colours))


def test_numbers_with_gaps_are_not_packed() -> None:
    with pytest.raises(ValueError, match="with gaps"):
        pack(memoryview(array("f", [0.0] * 24))[::2], memoryview(TRIANGLES), memoryview(COLOURS))


def of_size(triangles: int) -> memoryview:
    return memoryview(array("I", [0, 1, 2] * triangles))


def test_the_limit_is_kept() -> None:
    fitting = (COARSE_BYTES - size_of(4, 0)) // 12
    assert len(pack(memoryview(VERTICES), of_size(fitting), memoryview(COLOURS))) <= COARSE_BYTES
    with pytest.raises(ValueError, match="bytes"):
        pack(memoryview(VERTICES), of_size(fitting + 1), memoryview(COLOURS))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "0 bytes"),
        (PACKED[:11], "11 bytes"),
        (bytes(COARSE_BYTES + 1), "bytes"),
        (PACKED[:-1], "do not hold"),
        (PACKED + b"\0", "do not hold"),
        (with_bytes(0, b"GLTF"), "no coarse mesh"),
        (with_bytes(4, struct.pack("<I", 2**32 - 1)), "do not hold"),
        (with_bytes(8, struct.pack("<I", 2**32 - 1)), "do not hold"),
        (b"DTC1" + bytes(8), "without a triangle"),
        (b"DTC1" + struct.pack("<II", 1, 0) + bytes(15), "without a triangle"),
        (with_bytes(12, struct.pack("<f", -math.inf)), "not finite"),
        (with_bytes(72, struct.pack("<I", 4)), "not there"),
    ],
)
def test_what_is_malformed_is_refused(packed: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(packed)


def test_random_bytes_are_refused_or_are_a_mesh() -> None:
    draws = random.Random(0)
    meshes = 0
    for _ in range(20_000):
        damaged = bytearray(PACKED if draws.random() < 0.8 else draws.randbytes(draws.randrange(200)))
        for _ in range(draws.randrange(4)):
            if damaged:
                damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        damaged = damaged[: draws.choice([len(damaged), len(damaged), draws.randrange(len(damaged) + 1)])]
        try:
            mesh = unpack(bytes(damaged))
        except ValueError:
            continue
        meshes += 1
        assert len(mesh.vertices) == len(mesh.colours) > max(mesh.triangles)
        assert all(map(math.isfinite, mesh.vertices))
        assert coarse.pack(memoryview(mesh.vertices), memoryview(mesh.triangles), memoryview(mesh.colours)) == damaged
    assert meshes > 1000
