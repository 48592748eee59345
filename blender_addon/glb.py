"""From the bytes of a GLB to arrays, as far as the backend writes it: one mesh with positions, normals,
texture coordinates and a PNG for its colour. The file came over a network, so nothing in it is believed before it was
looked at.

glTF splits vertices at the seams of the texture, is y-up, and has the origin of textures in the upper left; here
vertices are whole again, z is up, and v runs upwards.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

_HEADER = struct.Struct("<4sII")
_CHUNK = struct.Struct("<I4s")
_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">8sI4sIIB")
_TRIANGLES = 4
_FORMATS = {(5126, "VEC3"): ("<f4", 3), (5126, "VEC2"): ("<f4", 2), (5125, "SCALAR"): ("<u4", 1)}
"""Component type and type of the accessors that are understood, as numpy has them."""


_DESCRIPTION_BYTES = 2**20
"""The JSON; the backend's has a few thousand. Parsed, it takes some thirty times as much memory."""

_TEXTURE_PIXELS = 8192
"""Per side, the most that a backend makes. A few bytes of PNG may promise far more, which Blender would unpack."""

_ALIKE = 1e-3
"""Normals that differ by more are two. Those of one smooth surface come equal to the last bit."""


class GlbError(ValueError):
    """The bytes are no GLB of the backend's. One sentence."""


@dataclass(frozen=True)
class Model:
    """vertices: (V, 3), z up. triangles: (F, 3) of their numbers. uvs: (3 F, 2), one per corner. texture: a PNG.

    sharp: (3 F,), whether normals break off at the side that runs from each corner to the next.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    texture: bytes
    sharp: np.ndarray
    recipe: dict[str, Any]


def read(data: bytes) -> Model:
    """The model in a GLB. Raises GlbError, and nothing else, whatever the bytes are."""
    tree, binary = _chunks(data)
    try:
        (mesh,) = tree["meshes"]
        (part,) = mesh["primitives"]
        recipe = tree["asset"]["extras"]["recipe"]
        if part.get("mode", _TRIANGLES) != _TRIANGLES or not isinstance(recipe, dict):
            raise GlbError("the model is no triangle mesh with a recipe")
        json.dumps(recipe, allow_nan=False)  # 1e999 is JSON, but what it is read as is not
        positions = _accessor(tree, binary, part["attributes"]["POSITION"], 3)
        normals = _accessor(tree, binary, part["attributes"]["NORMAL"], 3)
        texture_at = _accessor(tree, binary, part["attributes"]["TEXCOORD_0"], 2)
        indices = _accessor(tree, binary, part["indices"], 1).ravel()
        texture = _texture(tree, binary, part["material"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, GlbError):
            raise
        raise GlbError(f"the model is not built as expected ({type(error).__name__})") from error
    return _model(positions, normals, texture_at, indices, texture, recipe)


def _chunks(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON and the binary chunk."""
    try:
        magic, version, length = _HEADER.unpack_from(data)
        size, kind = _CHUNK.unpack_from(data, _HEADER.size)
        begin = _HEADER.size + _CHUNK.size
        binary_size, binary_kind = _CHUNK.unpack_from(data, begin + size)
    except struct.error as error:
        raise GlbError("the model is cut off") from error
    binary = memoryview(data)[begin + size + _CHUNK.size :]
    if (magic, version, kind, binary_kind) != (b"glTF", 2, b"JSON", b"BIN\0"):
        raise GlbError("this is no GLB file")
    if length != len(data) or binary_size > len(binary):
        raise GlbError("the model is cut off")
    if size > _DESCRIPTION_BYTES:
        raise GlbError("the model's description is too large")
    try:
        tree = json.loads(data[begin : begin + size], parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise GlbError("the model's description cannot be read") from error
    if not isinstance(tree, dict):
        raise GlbError("the model's description is none")
    return tree, binary[:binary_size]


def _accessor(tree: dict[str, Any], binary: memoryview, index: int, width: int) -> np.ndarray:
    """The numbers that an accessor stands for, (count, width)."""
    accessor = tree["accessors"][_whole(index)]
    kind, components = _FORMATS[accessor["componentType"], accessor["type"]]
    view = tree["bufferViews"][_whole(accessor["bufferView"])]
    count, offset = _whole(accessor["count"]), _whole(view.get("byteOffset", 0)) + _whole(accessor.get("byteOffset", 0))
    item = np.dtype(kind).itemsize * components
    if components != width or view.get("byteStride", item) != item or "sparse" in accessor:
        raise GlbError("the model is laid out in a way that is not understood")
    if offset + count * item > len(binary):
        raise GlbError("the model is cut off")
    return np.frombuffer(binary, kind, count * components, offset).reshape(count, components)


def _texture(tree: dict[str, Any], binary: memoryview, material: int) -> bytes:
    """The PNG of the material's colour."""
    colour = tree["materials"][_whole(material)]["pbrMetallicRoughness"]["baseColorTexture"]
    image = tree["images"][_whole(tree["textures"][_whole(colour["index"])]["source"])]
    view = tree["bufferViews"][_whole(image["bufferView"])]
    begin, size = _whole(view.get("byteOffset", 0)), _whole(view["byteLength"])
    png = bytes(binary[begin : begin + size])
    if len(png) < size or not png.startswith(_PNG):
        raise GlbError("the model's texture is no PNG")
    if len(png) < _IHDR.size:
        raise GlbError("the model's texture is cut off")
    _, _, kind, width, height, depth = _IHDR.unpack_from(png)
    if kind != b"IHDR" or depth != 8 or not (0 < width <= _TEXTURE_PIXELS and 0 < height <= _TEXTURE_PIXELS):
        raise GlbError(f"the model's texture is not 8 bits deep and 1 to {_TEXTURE_PIXELS} pixels wide and high")
    return png


def _model(
    positions: np.ndarray,
    normals: np.ndarray,
    texture_at: np.ndarray,
    indices: np.ndarray,
    texture: bytes,
    recipe: dict[str, Any],
) -> Model:
    """Weld the vertices that were split at seams, and turn everything upright."""
    if len(indices) == 0 or len(indices) % 3 or not len(positions) == len(normals) == len(texture_at):
        raise GlbError("the model has no whole triangles")
    if int(indices.max()) >= len(positions):
        raise GlbError("a triangle of the model has a corner that is not there")
    if not all(np.isfinite(numbers).all() for numbers in (positions, normals, texture_at)):
        raise GlbError("the model holds numbers that are none")
    if (positions == positions[0]).all():
        raise GlbError("the model is a single point")
    upright = np.stack([positions[:, 0], -positions[:, 2], positions[:, 1]], axis=1)
    upright += 0.0  # -0 and 0 are one place
    # Whole rows compare far faster as one value each than as three.
    _, first, welded = np.unique(
        np.ascontiguousarray(upright).view("V12").ravel(), return_index=True, return_inverse=True
    )
    uvs = texture_at[indices] * np.float32([1, -1]) + np.float32([0, 1])
    triangles = welded.ravel()[indices].reshape(-1, 3).astype(np.int32)
    sharp = _sharp(triangles, normals[indices].reshape(-1, 3, 3))
    return Model(upright[first], triangles, uvs.astype(np.float32), texture, sharp, recipe)


def _sharp(triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Where two faces do not have the same normals along their common side. normals: (F, 3, 3), of their corners."""
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    at_start, at_end = normals.reshape(-1, 3), np.roll(normals, -1, axis=1).reshape(-1, 3)
    low, high = np.minimum(start, end).astype(np.int64), np.maximum(start, end)
    order = np.argsort(low * (int(triangles.max()) + 1) + high, kind="stable")
    one, other = order[:-1], order[1:]
    # The two run along their side in opposite directions.
    common = (start[one] == end[other]) & (end[one] == start[other])
    one, other = one[common], other[common]
    with np.errstate(over="ignore"):
        gaps = np.abs(at_start[one] - at_end[other]), np.abs(at_end[one] - at_start[other])
    sharp = np.zeros(len(start), bool)
    sharp[one] = sharp[other] = (np.maximum(*gaps) > _ALIKE).any(axis=1)
    return sharp


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise GlbError("the model's description holds a number that cannot be")
    return value
