"""Inputs: what can be told of them by their first bytes and their size."""

import struct

import pytest

from shared import inputs
from shared.inputs import MESH, PICTURE, Start
from shared.limits import PICTURE_BYTES, PICTURE_PIXELS

SHA = "ab" * 32


def png(width: int, height: int, depth: int = 8) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, depth, 2, 0, 0, 0)


def test_pictures_within_the_limits_pass() -> None:
    for width, height in ((1, 1), (PICTURE_PIXELS, 1), (PICTURE_PIXELS - 1, PICTURE_PIXELS)):
        inputs.check(PICTURE, png(width, height), PICTURE_BYTES)


@pytest.mark.parametrize(
    ("beginning", "size", "told"),
    [
        (png(PICTURE_PIXELS + 1, 1), 100, "each side"),
        (png(0, 1), 100, "each side"),
        (png(8, 8, depth=4), 100, "bits deep"),
        (png(8, 8)[:12], 12, "no PNG"),
        (b"GIF89a" + bytes(60), 100, "no PNG"),
        (png(8, 8), PICTURE_BYTES + 1, "it may have"),
        (png(8, 8), 0, "it may have"),
    ],
)
def test_other_pictures_are_refused(beginning: bytes, size: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        inputs.check(PICTURE, beginning, size)


def test_a_mesh_is_no_picture_and_a_picture_no_mesh() -> None:
    mesh = struct.pack("<4sIII", b"DTM1", 3, 1, 0)
    inputs.check(MESH, mesh, 16 + 36 + 12)
    with pytest.raises(ValueError, match="no PNG"):
        inputs.check(PICTURE, mesh, 64)
    with pytest.raises(ValueError, match="no mesh"):
        inputs.check(MESH, png(8, 8), 64)


def test_a_start_names_one_of_the_two() -> None:
    Start(PICTURE, SHA, "front.png")
    for wrong in ({"sort": "blend"}, {"sha256": "../x"}, {"name": "x" * 1000}):
        with pytest.raises(ValueError, match="is"):
            Start(**{"sort": MESH, "sha256": SHA, "name": "Suzanne", **wrong})
