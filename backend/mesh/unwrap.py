"""Texture coordinates: every triangle gets a place of its own on the texture.

xatlas cuts good charts, but its time grows with the square of the faces that it is given at once, it
cannot be interrupted, and now and then it folds a chart over itself. So it is given pieces, in a
process of its own with a time limit; faces that overlap are moved out; and a plain layout stands by.

Letters: F triangles, T texels per side.
"""

import io
import logging
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from backend.mesh import charts
from backend.mesh.asset import TriangleMesh
from backend.mesh.texels import rasterised

logger = logging.getLogger(__name__)

TIME_LIMIT = 60.0
"""Seconds after which xatlas is given up; it takes two, and longer where other programs compute."""

GUTTER = 2.0
"""Texels between islands, as long as there is room for the islands at all."""

_PIECE = 1000  # faces that are charted together
_PADDING = 3  # of an atlas that comes out up to 1.4 times as large as asked for
_CELL = 12  # texels per side of the cell that two faces which had to move share
_PASSES = 8
_LAST_LINES = 5  # of what the process prints


class UnwrapError(Exception):
    """xatlas made no layout that can be used. reason: for the artist. details: what else is known, for the log."""

    def __init__(self, reason: str, details: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason} ({details})" if details else reason)


@dataclass(frozen=True)
class Layout:
    """Where the triangles lie on the texture.

    uvs: corner texture coordinates in [0, 1]; origin at the lower left. note: a sentence for the artist if this is
    not what xatlas cuts.
    """

    uvs: Float32[np.ndarray, "F 3 2"]
    note: str | None = None


def unwrap(mesh: TriangleMesh, texture: int, time_limit: float = TIME_LIMIT) -> Layout:
    """The layout for a `texture` x `texture` picture.

    No texel belongs to two triangles, and islands are GUTTER texels apart. If xatlas fails or takes
    more than `time_limit` seconds, every two triangles become an island.
    """
    try:
        return Layout(charted(mesh, texture, time_limit))
    except UnwrapError as error:
        logger.warning("%s; every two triangles become an island", error)
        note = f"{error.reason}: the texture is in many small islands; ask for fewer faces, or generate it again"
        return Layout(paired_islands(len(mesh.triangles), texture), note)


def charted(mesh: TriangleMesh, texture: int, time_limit: float = TIME_LIMIT) -> Float32[np.ndarray, "F 3 2"]:
    """Corner texture coordinates of charts that xatlas cuts and packs. Raises UnwrapError."""
    return _parted(_cut(mesh, texture, time_limit), texture)


def _cut(mesh: TriangleMesh, texture: int, time_limit: float) -> Float32[np.ndarray, "F 3 2"]:
    """What xatlas makes of the mesh, in a process of its own. Raises UnwrapError."""
    request = io.BytesIO()
    np.savez(
        request,
        vertices=mesh.vertices,
        triangles=mesh.triangles,
        piece=pieces(mesh),
        settings=np.array([texture, _PADDING]),
    )
    command = [sys.executable, "-P", charts.__file__]
    try:
        answer = subprocess.run(  # noqa: S603 the command is this program's own
            command, input=request.getvalue(), capture_output=True, timeout=time_limit, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise UnwrapError(f"unwrapping took more than {time_limit:.0f} s", _words(error.stderr)) from error
    except subprocess.CalledProcessError as error:
        raise UnwrapError("unwrapping failed", f"{error} {_words(error.stderr)}".strip()) from error
    except OSError as error:
        raise UnwrapError("unwrapping failed", str(error)) from error
    if words := _words(answer.stderr):
        logger.info("xatlas: %s", words)
    uvs: Float32[np.ndarray, "F 3 2"] = np.load(io.BytesIO(answer.stdout))
    return uvs


def _words(printed: bytes | None) -> str:
    """The last of what was printed, as one line."""
    lines = (printed or b"").decode(errors="replace").splitlines()
    return " / ".join([line.strip() for line in lines if line.strip()][-_LAST_LINES:])


def pieces(mesh: TriangleMesh) -> Int64[np.ndarray, " F"]:
    """The piece that each triangle belongs to: halves of halves of the mesh, cut across their longest side."""
    centres = mesh.vertices[mesh.triangles].mean(axis=1)
    piece = np.zeros(len(centres), dtype=np.int64)
    waiting, done = [np.arange(len(centres))], 0
    while waiting:
        faces = waiting.pop()
        if len(faces) <= _PIECE:
            piece[faces], done = done, done + 1
            continue
        along = centres[faces][:, np.ptp(centres[faces], axis=0).argmax()]
        waiting += np.split(faces[np.argpartition(along, len(faces) // 2)], [len(faces) // 2])
    return piece


def paired_islands(faces: int, texture: int) -> Float32[np.ndarray, "{faces} 3 2"]:
    """Two triangles to a square cell of a regular grid that fills the texture: any mesh fits, at once, but distorted.

    Where cells are small the gutter is a fifth of a cell.
    """
    columns = int(np.ceil(np.sqrt(np.ceil(faces / 2))))
    return _cells(faces, columns, 1 / columns, min(GUTTER / texture, 0.2 / columns))


def _cells(faces: int, columns: int, cell: float, gutter: float) -> Float32[np.ndarray, "{faces} 3 2"]:
    """Rows of square cells from the lower left on, two right triangles in each, `gutter` apart on all sides."""
    leg = cell - gutter - np.sqrt(2) * gutter
    lower = np.array([[0, 0], [leg, 0], [0, leg]]) + gutter / 2
    corners = np.stack([lower, cell - lower])
    row, column = np.divmod(np.arange(faces) // 2, columns)
    return (corners[np.arange(faces) % 2] + np.stack([column, row], axis=-1)[:, None] * cell).astype(np.float32)


def _parted(uvs: Float32[np.ndarray, "F 3 2"], texture: int) -> Float32[np.ndarray, "F 3 2"]:
    """The layout with faces that lie on others moved to cells below it. Raises UnwrapError if they are too many."""
    moved = np.zeros(len(uvs), dtype=bool)
    layout = uvs
    for _ in range(_PASSES):
        on_others = overlapping(layout, texture)
        if not on_others.any():
            return layout
        moved |= on_others
        columns = texture // _CELL
        below = np.ceil(moved.sum() / 2 / columns) * _CELL / texture
        if below > 0.5:
            break
        layout = (uvs * (1 - below) + np.array([0, below])).astype(np.float32)
        layout[moved] = _cells(int(moved.sum()), columns, _CELL / texture, GUTTER / texture)
    raise UnwrapError("unwrapping laid too many faces on others")


def overlapping(uvs: Float32[np.ndarray, "F 3 2"], texture: int) -> Bool[np.ndarray, " F"]:
    """Faces to take away so that the centre of each texel lies in one face at most (or nearly so: three may meet)."""
    # The last face wins a texel: where two lie on each other, the reversed order gives another winner.
    last, first = rasterised(uvs, texture), rasterised(np.ascontiguousarray(uvs[::-1]), texture)
    first_face = len(uvs) - 1 - first.triangle
    contested = last.triangle != first_face
    centre = (np.stack([last.column, texture - 1 - last.row], axis=-1) + 0.5) / texture
    for face, weights in ((last.triangle, last.weights), (first_face, first.weights)):
        # Faces too thin for any centre are given a texel too, which says nothing.
        reached = (weights[:, :, None] * uvs[face]).sum(axis=1)
        contested &= np.abs(reached - centre).max(axis=-1) < 1e-3 / texture
    found = np.zeros(len(uvs), dtype=bool)
    found[first_face[contested]] = True
    return found
