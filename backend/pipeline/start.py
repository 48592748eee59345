"""What a job begins from, by what is in its file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from backend.errors import OtherRunError, UserError
from backend.files import sha256
from backend.pipeline.request import Request

StartKind = Literal["mesh", "picture"]

MOST_BYTES = 512 * 2**20
"""Of a file that a job begins from."""

MOST_PIXELS = 8192
"""A side of a picture."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Of pictures, as Pillow names them."""

_STRENGTH = 0.5
"""Of a mesh that is sculpted, where none is named."""


@dataclass(frozen=True)
class Start:
    """The files, by their digests. mask: see `Request`."""

    kind: StartKind
    path: Path
    digest: str
    strength: float
    sketch: bool = False
    mask: Path | None = None
    mask_digest: str | None = None

    def verify(self) -> None:
        """Raise OtherRunError if a file is another one by now."""
        files = [(self.path, self.digest), (self.mask, self.mask_digest)]
        if changed := next((path for path, known in files if path and digest(path) != known), None):
            raise OtherRunError(f"{changed} has changed since the run began; leave it alone, or start anew")


def facts(start: Start | None) -> dict[str, str | float | bool | None]:
    """What a recipe says of it. Where the files lie is this machine's business."""
    if start is None:
        return {"start": None, "strength": None, "sketch": False, "mask": None}
    return {
        "start": f"{start.kind} {start.digest}",
        "strength": start.strength,
        "sketch": start.sketch,
        "mask": start.mask_digest,
    }


def start_of(request: Request) -> Start | None:
    """What `request` begins from. Raises UserError if that does not go with what else it asks for."""
    if request.start is None:
        return None
    found = digest(request.start)
    kind: StartKind = "picture" if is_picture(request.start) else "mesh"
    if kind == "mesh" and request.sketch:
        raise UserError(f"{request.start} is no picture that can be read; name a sketch as PNG or JPEG")
    if kind == "picture" and request.paint_only:
        raise UserError(f"{request.start} is a picture; to paint, name a mesh with --start")
    if kind == "picture" and request.strength is not None:
        raise UserError("a strength says how far a mesh may be left, and a picture has none; leave it out")
    if kind == "mesh" and request.mask and not request.paint_only:
        raise UserError("a mask says which triangles are painted; use it with --paint-only")
    strength = 1.0 if kind == "picture" or request.paint_only else _STRENGTH
    return Start(
        kind,
        request.start,
        found,
        strength if request.strength is None else request.strength,
        request.sketch,
        request.mask,
        digest(request.mask) if request.mask else None,
    )


def digest(path: Path) -> str:
    """The SHA-256 of a file. Raises UserError if it cannot be read, or is too large to be begun from."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MiB; name a smaller file")
        return f"sha256:{sha256(path)}"
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name another file") from error


def is_picture(path: Path) -> bool:
    """Whether a file that can be read holds a picture. Raises UserError if that is too large."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            size = picture.size
    except UnidentifiedImageError:
        return False
    except Image.DecompressionBombError:
        size = (MOST_PIXELS + 1, 1)
    if max(size) > MOST_PIXELS:
        raise UserError(f"{path} has more than {MOST_PIXELS:,} pixels a side; make it smaller")
    return True
