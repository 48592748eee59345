"""What a job begins from, as it is sent to a backend: a mesh without its colours, or a picture as a PNG."""

import hashlib
import io

import numpy as np

from backend.errors import UserError
from backend.pipeline import start as starts
from backend.pipeline.given import marked, read
from backend.pipeline.picture import opened, reference
from backend.pipeline.request import Request, check_values
from shared import meshes
from shared.inputs import MESH, PICTURE, Start, check_size
from shared.limits import NAME_CHARACTERS


def packed(request: Request) -> tuple[Start, bytes]:
    """The files that `request` begins from: what a backend is told of them, and the bytes it gets.

    Raises UserError for what cannot be begun from.
    """
    check_values(request)
    found = starts.start_of(request)
    if found is None:
        raise ValueError("a request that begins from nothing")
    try:
        sort, content = (PICTURE, _picture(found)) if found.kind == "picture" else (MESH, _mesh(found))
        check_size(sort, len(content))
        return Start(sort, hashlib.sha256(content).hexdigest(), found.path.name[:NAME_CHARACTERS]), content
    except ValueError as error:
        raise UserError(f"{found.path} cannot be sent ({error}); name another file") from error


def _mesh(start: starts.Start) -> bytes:
    given = read(start.path)
    mask = marked(start.mask, len(given.mesh.triangles)).astype(np.uint8) if start.mask else None
    return meshes.pack(
        given.mesh.vertices.data,
        given.mesh.triangles.astype(np.uint32).data,
        None if given.uvs is None else given.uvs.data,
        None if mask is None else mask.data,
    )


def _picture(start: starts.Start) -> bytes:
    """As large as it is looked at; what the mask leaves out is transparent."""
    reference(start)  # which says what is wrong with it
    picture, content = opened(start.path), io.BytesIO()
    if start.mask is not None:
        picture.putalpha(opened(start.mask).convert("L").point(lambda level: 255 * (level >= 128)))
    picture.save(content, "PNG")
    return content.getvalue()
