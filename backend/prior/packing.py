"""A folder of objects as one small file, to teach a model on another machine.

    python -m backend.prior.packing --objects FOLDER --out FILE    # on this one
    python -m backend.prior.train --objects FILE --run RUN         # on the other

It keeps what pictures of some hundred pixels show: places to a thousandth, colours in eight bits, small textures. The
file is a zip: what the objects are in words, their numbers column by column, and their textures as WebP.

Letters: V vertices, F triangles. A vertex is all that a corner has: place, texture coordinates, colour, texture.
"""

import io
import json
import lzma
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from jaxtyping import Bool, Int, UInt16, UInt32
from PIL import Image
from tqdm import tqdm

from backend.errors import UserError
from backend.files import write_whole
from backend.mesh.asset import TriangleMesh
from backend.prior import catalogue, objects
from backend.prior.catalogue import Entry
from backend.prior.objects import Surface, Texture, to_display, to_linear

_PLACES, _TEXELS = 1024, 1024
"""Steps that one unit of length, and one repetition of a texture, is divided into."""

_COLUMNS = 9
_LARGEST_TEXTURE = 96
_NOT_WHOLE = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    NotImplementedError,
    ValueError,
    TypeError,
    LookupError,
)
"""What reading a file raises that is damaged or something else."""

_WORDS, _VERTICES, _TRIANGLES, _PICTURE = "objects.json", "vertices", "triangles", "{}.webp"


@dataclass(frozen=True)
class Packed:
    """An object as the file has it. textures: a WebP picture and a cut-off for each."""

    vertices: UInt16[np.ndarray, "V 9"]
    triangles: UInt32[np.ndarray, "F 3"]
    textures: tuple[tuple[bytes, float], ...]

    def surface(self) -> Surface:
        """The object itself."""
        columns = self.vertices.astype(np.float32)
        corners = torch.from_numpy(columns[self.triangles])
        return Surface(
            mesh=TriangleMesh(columns[:, :3] / _PLACES - 1, self.triangles.astype(np.int32)),
            colours=to_linear(corners[..., 5:8] / 255),
            uvs=corners[..., 3:5] / _TEXELS,
            texture=corners[:, 0, 8].long() - 1,
            textures=tuple(_texture(picture, cutoff) for picture, cutoff in self.textures),
        )


def write(folder: Path, file: Path) -> None:
    """Pack the objects of `folder`. Raises UserError if they cannot be read."""
    words, vertices, triangles = [], [], []
    pictures: dict[bytes, int] = {}
    for entry in tqdm(catalogue.read(folder), desc="packing", unit="object"):
        surface = objects.read(folder / entry.file)
        textures = [
            (pictures.setdefault(_webp(texture), len(pictures)), texture.cutoff) for texture in surface.textures
        ]
        distinct, corners = _indexed(surface)
        vertices.append(distinct)
        triangles.append(_differences(corners))
        words.append(asdict(entry) | {"sizes": (len(distinct), len(corners) // 3), "textures": textures})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr(_WORDS, json.dumps(words))
        # One column after the other, as differences and by bytes: what repeats comes to lie together.
        packed.writestr(_VERTICES, _bytewise(np.diff(np.concatenate(vertices).T, prepend=np.uint16(0))))
        packed.writestr(_TRIANGLES, _bytewise(np.concatenate(triangles)))
        for picture, number in pictures.items():
            packed.writestr(_PICTURE.format(number), picture, zipfile.ZIP_STORED)
    write_whole(file, content.getvalue())


def read(file: Path) -> list[tuple[Entry, Packed]]:
    """What `write` has packed. Raises UserError if it is something else."""
    try:
        with zipfile.ZipFile(file) as packed:
            words: list[dict[str, Any]] = json.loads(packed.read(_WORDS))
            vertices = _from_bytes(packed.read(_VERTICES), np.uint16).reshape(_COLUMNS, -1)
            codes = _from_bytes(packed.read(_TRIANGLES), np.uint32)
            pictures = [packed.read(_PICTURE.format(number)) for number in range(len(packed.namelist()) - 3)]
        return _objects(words, vertices.cumsum(1, dtype=np.uint16).T, codes, pictures)
    except _NOT_WHOLE as error:
        raise UserError(f"{file} holds no packed objects ({error}); pack the folder of objects again") from error


def _objects(
    words: list[dict[str, Any]],
    vertices: UInt16[np.ndarray, "n 9"],
    codes: UInt32[np.ndarray, " m"],
    pictures: Sequence[bytes],
) -> list[tuple[Entry, Packed]]:
    first = corner = 0
    found = []
    for fields in words:
        count, triangles = fields["sizes"]
        indices = _indices(codes[corner : corner + 3 * triangles])
        textures = tuple((pictures[number], cutoff) for number, cutoff in fields["textures"])
        packed = Packed(vertices[first : first + count].copy(), indices.reshape(-1, 3), textures)
        found.append((catalogue.entry_of(fields), packed))
        first, corner = first + count, corner + 3 * triangles
    return found


def _indexed(surface: Surface) -> tuple[UInt16[np.ndarray, "V 9"], Int[np.ndarray, " c"]]:
    """Distinct vertices in the order in which the triangles' corners come to them, and each corner's vertex."""
    triangles = surface.mesh.triangles
    places = np.rint((surface.mesh.vertices[triangles] + 1) * _PLACES)
    uvs, textured = surface.uvs.numpy(), surface.texture.numpy()[:, None, None] >= 0
    uvs = np.where(textured, np.rint((uvs - np.floor(uvs.min(1, keepdims=True))) * _TEXELS), 0)
    colours = np.rint(to_display(surface.colours).numpy() * 255)
    texture = np.broadcast_to(surface.texture.numpy()[:, None, None] + 1, (len(triangles), 3, 1))
    corners = np.concatenate([places, uvs, colours, texture], axis=-1).clip(0, np.iinfo(np.uint16).max)
    corners = corners[~_flat(places)].reshape(-1, _COLUMNS).astype(np.uint16)
    vertices, first, vertex = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return vertices[order], np.argsort(order)[vertex.ravel()]


def _flat(places: np.ndarray) -> Bool[np.ndarray, " F"]:
    """Which triangles have two corners in one place."""
    return (places == np.roll(places, 1, axis=1)).all(-1).any(-1)


def _differences(corners: Int[np.ndarray, " c"]) -> UInt32[np.ndarray, " c"]:
    """How far before the next new vertex each corner's is: 0 for the new one itself, little for its neighbours."""
    newest = np.maximum.accumulate(np.concatenate([[-1], corners[:-1]])) + 1
    return (newest - corners).astype(np.uint32)


def _indices(differences: UInt32[np.ndarray, " c"]) -> UInt32[np.ndarray, " c"]:
    new = differences == 0
    return (new.cumsum() - new - differences).astype(np.uint32)


def _bytewise(numbers: np.ndarray) -> bytes:
    """All lowest bytes, then all next ones, and so on."""
    little = numbers.ravel().astype(numbers.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(-1, little.itemsize).T.tobytes()


def _from_bytes(content: bytes, dtype: type[np.unsignedinteger[Any]]) -> np.ndarray:
    size = np.dtype(dtype).itemsize
    little = np.frombuffer(content, np.uint8).reshape(size, -1).T.copy()
    return little.view(np.dtype(dtype).newbyteorder("<")).ravel().astype(dtype)


def _webp(texture: Texture) -> bytes:
    """A picture of the texture: exact where that takes no more than it would otherwise (palettes)."""
    texels = torch.cat([to_display(texture.texels[:3]), texture.texels[3:]])
    picture = Image.fromarray((texels.permute(1, 2, 0) * 255).round().byte().numpy())
    if not texture.cutoff:
        picture = picture.convert("RGB")  # glass is opaque
    exact = _encoded(picture, lossless=True)
    picture.thumbnail((_LARGEST_TEXTURE, _LARGEST_TEXTURE))
    return min(exact, _encoded(picture, lossless=False), key=len)


def _encoded(picture: Image.Image, lossless: bool) -> bytes:
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=lossless, quality=80, method=6, exact=True)
    return content.getvalue()


def _texture(picture: bytes, cutoff: float) -> Texture:
    texels = torch.from_numpy(np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA")).copy())
    values = texels.permute(2, 0, 1).float() / 255
    return Texture(torch.cat([to_linear(values[:3]), values[3:]]), cutoff)


@click.command()
@click.option(
    "--objects",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A folder of GLB files, with or without a catalogue.jsonl.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def main(folder: Path, out: Path) -> None:
    """Pack a folder of objects into one small file: what `backend.prior.train --objects` takes on another machine."""
    try:
        write(folder, out)
    except (UserError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {out}, {out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
