"""GLB files to arrays: those of the backend, and everything that is none."""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import trimesh

from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.glb import read_glb, write_glb
from backend.mesh.names import ShadingName

RECIPE = {"seed": 7, "prompt": "a mug"}


@pytest.fixture(scope="session")
def glb(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("glb")


@pytest.fixture(scope="session")
def tetrahedron() -> Asset:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    uvs = np.random.default_rng(0).random((4, 3, 2), np.float32)
    texture = np.random.default_rng(1).integers(0, 255, (16, 16, 3), np.uint8)
    mesh = TriangleMesh(vertices, triangles)
    return Asset(mesh, uvs, texture, shaded(mesh, "auto"))


@pytest.fixture(scope="session")
def data(tetrahedron: Asset, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("glb") / "mesh.glb"
    write_glb(tetrahedron, path, "Tetrahedron", RECIPE)
    return path.read_bytes()


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def whole(tree: Any, binary: bytes) -> bytes:
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def test_what_the_backend_writes_comes_back(glb: ModuleType, data: bytes, tetrahedron: Asset, tmp_path: Path) -> None:
    model = glb.read(data)
    assert len(model.vertices) == 4, "seams are welded"
    corners = model.vertices[model.triangles.reshape(-1)]
    expected = tetrahedron.mesh.vertices[tetrahedron.mesh.triangles.reshape(-1)]
    assert {tuple(map(tuple, corner)) for corner in corners.reshape(4, 3, 3)} == {
        tuple(map(tuple, corner)) for corner in expected.reshape(4, 3, 3)
    }
    (tmp_path / "mesh.glb").write_bytes(data)
    theirs, _ = read_glb(tmp_path / "mesh.glb")
    assert np.allclose(model.uvs.reshape(4, 3, 2), theirs.uvs, atol=1e-6)
    assert model.recipe == RECIPE
    assert model.texture.startswith(b"\x89PNG")
    assert (model.vertices.dtype, model.triangles.dtype, model.uvs.dtype) == (np.float32, np.int32, np.float32)


@pytest.mark.parametrize(("shading", "sharp"), [("smooth", 0), ("auto", 12), ("flat", 12)])
def test_sharp_sides_are_those_where_normals_break_off(
    glb: ModuleType, tetrahedron: Asset, tmp_path: Path, shading: ShadingName, sharp: int
) -> None:
    shown = replace(tetrahedron, normals=shaded(tetrahedron.mesh, shading))
    write_glb(shown, tmp_path / "mesh.glb", "Tetrahedron", RECIPE)
    assert glb.read((tmp_path / "mesh.glb").read_bytes()).sharp.sum() == sharp, "each edge has two sides"


def test_a_crease_that_ends_is_sharp_to_its_end(glb: ModuleType, tmp_path: Path) -> None:
    # At the end of a crease both faces have the same normals: around it, one comes from the other.
    ball = trimesh.creation.icosphere(subdivisions=2)
    mesh = TriangleMesh(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))
    normals = shaded(mesh, "smooth")
    normals[0, 0] *= -1
    asset = Asset(mesh, np.zeros((len(normals), 3, 2), np.float32), np.zeros((4, 4, 3), np.uint8), normals)
    write_glb(asset, tmp_path / "mesh.glb", "Ball", RECIPE)
    sharp = glb.read((tmp_path / "mesh.glb").read_bytes()).sharp.reshape(-1, 3)
    assert sharp.sum() == 4, "the two edges that meet in this corner, each with two sides"
    assert sorted(sharp.sum(axis=1).tolist())[-3:] == [1, 1, 2]


def change(tree: dict[str, Any], *path: Any, value: Any) -> dict[str, Any]:
    changed = json.loads(json.dumps(tree))
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("meshes",), [], "as expected"),
        (("meshes",), None, "as expected"),
        (("asset",), {}, "as expected"),
        (("asset", "extras", "recipe"), 5, "no triangle mesh"),
        (("meshes", 0, "primitives", 0, "mode"), 1, "no triangle mesh"),
        (("meshes", 0, "primitives", 0, "indices"), 99, "as expected"),
        (("meshes", 0, "primitives", 0, "indices"), -1, "cannot be"),
        (("meshes", 0, "primitives", 0, "indices"), 1.5, "cannot be"),
        (("meshes", 0, "primitives", 0, "attributes", "POSITION"), 0, "not understood"),
        (("meshes", 0, "primitives", 0, "attributes"), {"POSITION": 1, "TEXCOORD_0": 3}, "as expected"),
        (("accessors", 0, "componentType"), 5120, "as expected"),
        (("accessors", 0, "count"), 10**12, "cut off"),
        (("accessors", 0, "count"), 0, "no whole triangles"),
        (("accessors", 0, "count"), 4, "no whole triangles"),
        (("accessors", 0, "sparse"), {}, "not understood"),
        (("bufferViews", 0, "byteOffset"), 10**9, "cut off"),
        (("bufferViews", 0, "byteStride"), 64, "not understood"),
        (("images", 0, "bufferView"), 0, "no PNG"),
        (("images", 0), {"uri": "http://example.org/x.png"}, "as expected"),
        (("materials",), [], "as expected"),
        (("bufferViews", 2, "byteLength"), 10**9, "no PNG"),
        (("bufferViews", 2, "byteLength"), 20, "texture is cut off"),
        (("asset", "extras", "recipe", "cfg"), float("nan"), "cannot be read"),
        (("asset", "extras", "recipe", "cfg"), "x" * 2**20, "too large"),
    ],
)
def test_what_is_laid_out_otherwise_is_refused(glb: ModuleType, data: bytes, path: Any, value: Any, told: str) -> None:
    tree, binary = parts(data)
    with pytest.raises(glb.GlbError, match=told):
        glb.read(whole(change(tree, *path, value=value), binary))


@pytest.mark.parametrize("attribute", ["POSITION", "NORMAL", "TEXCOORD_0"])
@pytest.mark.parametrize(
    ("bad", "told"),
    [(float("nan"), "numbers that are none"), (float("inf"), "numbers that are none")],
)
def test_numbers_that_are_none_are_refused(glb: ModuleType, data: bytes, attribute: str, bad: float, told: str) -> None:
    tree, binary = parts(data)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][attribute]]
    offset = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    changed = binary[:offset] + struct.pack("<f", bad) + binary[offset + 4 :]
    with pytest.raises(glb.GlbError, match=told):
        glb.read(whole(tree, changed))


def test_a_recipe_that_nobody_could_write_again_is_refused(glb: ModuleType, data: bytes) -> None:
    tree, binary = parts(data)
    text = json.dumps(change(tree, "asset", "extras", "recipe", "cfg", value="here")).encode()
    for number in (b"1e999", b"-1e999", b"[" * 900 + b"1e999" + b"]" * 900):
        with pytest.raises(glb.GlbError, match=r"as expected|cannot be read"):
            glb.read(whole(text.replace(b'"here"', number), binary))


@pytest.mark.parametrize(
    ("width", "height", "depth", "fine"),
    [
        (8192, 1, 8, True),
        (8193, 1, 8, False),
        (1, 8193, 8, False),
        (2**32 - 1, 2**32 - 1, 8, False),
        (0, 1, 8, False),
        (1, 0, 8, False),
        (16, 16, 16, False),
    ],
)
def test_a_texture_that_would_fill_the_memory_is_refused(
    glb: ModuleType, data: bytes, width: int, height: int, depth: int, fine: bool
) -> None:
    at = data.index(b"IHDR") + 4
    changed = data[:at] + struct.pack(">IIB", width, height, depth) + data[at + 9 :]
    if fine:
        assert glb.read(changed).texture[16:25] == struct.pack(">IIB", width, height, depth)
    else:
        with pytest.raises(glb.GlbError, match="8192 pixels"):
            glb.read(changed)


def test_a_model_of_one_point_is_refused(glb: ModuleType, data: bytes) -> None:
    tree, binary = parts(data)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    offset, size = tree["bufferViews"][accessor["bufferView"]]["byteOffset"], 12 * accessor["count"]
    with pytest.raises(glb.GlbError, match="single point"):
        glb.read(whole(tree, binary[:offset] + bytes(size) + binary[offset + size :]))


def test_a_corner_that_is_not_there_is_refused(glb: ModuleType, data: bytes) -> None:
    tree, binary = parts(data)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["indices"]]
    offset = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    with pytest.raises(glb.GlbError, match="not there"):
        glb.read(whole(tree, binary[:offset] + struct.pack("<I", 10**6) + binary[offset + 4 :]))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b"", "cut off"),
        (b"glTF", "cut off"),
        (b"PK\x03\x04" + bytes(60), "no GLB"),
        (whole(b"{", b""), "cannot be read"),
        (whole(b"[" * 50_000, b""), "cannot be read"),
        (whole(b"\xff", b""), "cannot be read"),
        (whole([], b""), "description is none"),
    ],
)
def test_what_is_no_glb_is_refused(glb: ModuleType, bad: bytes, told: str) -> None:
    with pytest.raises(glb.GlbError, match=told):
        glb.read(bad)


def test_every_cut_is_noticed(glb: ModuleType, data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(glb.GlbError):
            glb.read(data[:length])


def test_whatever_the_bytes_there_is_a_model_or_a_sentence(glb: ModuleType, data: bytes) -> None:
    draw = random.Random(0)
    refused = 0
    for _ in range(20_000):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 5)):
            changed[draw.randrange(len(changed) if draw.random() < 0.3 else 1400)] = draw.randrange(256)
        try:
            model = glb.read(bytes(changed))
        except glb.GlbError:
            refused += 1
        else:
            assert model.triangles.max() < len(model.vertices)
    assert refused > 10_000


def test_random_bytes_are_no_model(glb: ModuleType) -> None:
    draw = random.Random(0)
    heads = (b"", b"glTF", struct.pack("<4sI", b"glTF", 2))
    for _ in range(20_000):
        with pytest.raises(glb.GlbError):
            glb.read(draw.choice(heads) + draw.randbytes(draw.randrange(80)))
