"""A program that unwraps one mesh with xatlas, so that a slow unwrap can be stopped and a crash survived.

Reads an .npz of positions (V, 3), triangles (F, 3), piece (F,) and settings from standard input; writes
(F, 3, 2) texture coordinates to standard output as .npy; what xatlas itself prints goes to standard error.
Imports nothing of the rest: it starts in a moment.
"""

import ctypes
import io
import os
import sys

import numpy as np
import xatlas
from numpy.typing import NDArray


def unwrapped(
    vertices: NDArray[np.float32], triangles: NDArray[np.int32], piece: NDArray[np.int64], resolution: int, padding: int
) -> NDArray[np.float32]:
    """Texture coordinates in [0, 1] of all corners, (F, 3, 2). Every piece is charted by itself; all share one atlas.

    resolution: texels per side that the atlas should have. padding: between charts, in texels of the
    atlas as it comes out, which may be larger than asked for.
    """
    atlas = xatlas.Atlas()
    _keep_for_good(atlas)
    faces_of = [np.flatnonzero(piece == index) for index in range(piece.max() + 1)]
    for faces in faces_of:
        used, corners = np.unique(triangles[faces], return_inverse=True)
        atlas.add_mesh(vertices[used], corners.reshape(-1, 3).astype(np.uint32))
    options = xatlas.PackOptions()
    options.resolution = resolution
    options.padding = padding
    atlas.generate(xatlas.ChartOptions(), options)
    uvs = np.empty((len(triangles), 3, 2), np.float32)
    size = max(atlas.width, atlas.height)
    for index, faces in enumerate(faces_of):
        _, corners, coordinates = atlas.get_mesh(index)
        # xatlas divides by width and height; one scale for both keeps texels square.
        uvs[faces] = (coordinates * (np.array([atlas.width, atlas.height], np.float32) / size))[corners]
    return uvs


def _keep_for_good(atlas: xatlas.Atlas) -> None:
    """Let the atlas end with the process alone.

    Its destructor wakes each of its threads and waits for it to end; one that was just about to wait for work does not
    hear that, and both wait for ever: of some tens of thousands of atlases it happened to one.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(atlas))


def main() -> None:
    """Unwrap what stands in standard input."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    given = np.load(io.BytesIO(sys.stdin.buffer.read()))
    uvs = io.BytesIO()  # to a file, numpy asks for its position, and a pipe has none
    np.save(uvs, unwrapped(given["vertices"], given["triangles"], given["piece"], *given["settings"]))
    with answer:
        answer.write(uvs.getvalue())


if __name__ == "__main__":
    main()
