"""Columns of numbers: their bytes are alike on every machine."""

import struct
import sys
from array import array

import pytest

from shared.columns import BYTE, FLOAT, UINT32, packed, unpacked


def test_the_bytes_are_little_endian_whatever_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packed(memoryview(array("I", [1, 258])), UINT32) == bytes([1, 0, 0, 0, 2, 1, 0, 0])
    monkeypatch.setattr(sys, "byteorder", "big")
    assert packed(memoryview(array("I", [1])), UINT32) == bytes([0, 0, 0, 1])
    assert unpacked(struct.pack(">f", 1.0), FLOAT) == array("f", [struct.unpack("<f", struct.pack("<f", 1.0))[0]])
    assert unpacked(b"\x05\x06", BYTE) == array("B", [5, 6])


def test_other_numbers_and_gaps_are_refused() -> None:
    for column in (memoryview(array("d", [1.0])), memoryview(array("f", [1.0] * 4))[::2]):
        with pytest.raises(ValueError, match="are needed"):
            packed(column, FLOAT)
