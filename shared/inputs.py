"""What an artist sends for a job to begin from: a mesh (see `meshes`) or a picture, which is a PNG."""

import struct
from dataclasses import dataclass

from . import meshes
from .assets import SHA256
from .limits import NAME_CHARACTERS, PICTURE_BYTES, PICTURE_PIXELS
from .records import Record, checked, text

MESH, PICTURE = "mesh", "picture"
SORT = frozenset({MESH, PICTURE}).__contains__
"""Whether a text names a sort of inputs."""

BEGINNING_BYTES = 64
"""As much of an input as `check` looks at."""

_BYTES = {MESH: meshes.MOST_BYTES, PICTURE: PICTURE_BYTES}
_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">8sI4sIIB")
_DEPTHS = (8, 16)


@dataclass(frozen=True)
class Start(Record):
    """What a job begins from. sha256: of the input's bytes. name: what the artist calls it."""

    sort: str = checked(SORT)
    sha256: str = checked(SHA256)
    name: str = checked(text(NAME_CHARACTERS))


def check(sort: str, beginning: bytes, size: int) -> None:
    """Raise ValueError if a file of `size` bytes that begins so is no input of that sort, as far as one can see."""
    check_size(sort, size)
    if sort == MESH:
        meshes.check(beginning, size)
    else:
        _check_png(beginning)


def check_size(sort: str, size: int) -> None:
    """Raise ValueError if no input of that sort has `size` bytes."""
    if not 1 <= size <= _BYTES[sort]:
        raise ValueError(f"a {sort} of {size:,} bytes; it may have {_BYTES[sort]:,}")


def _check_png(beginning: bytes) -> None:
    if len(beginning) < _IHDR.size or not beginning.startswith(_PNG):
        raise ValueError("no PNG")
    _, _, kind, width, height, depth = _IHDR.unpack_from(beginning)
    if kind != b"IHDR" or depth not in _DEPTHS:
        raise ValueError("a PNG that is not 8 or 16 bits deep")
    if not min(width, height) >= 1 or max(width, height) > PICTURE_PIXELS:
        raise ValueError(f"a picture of {width} x {height} pixels; each side may have 1 to {PICTURE_PIXELS:,}")
