import errno
import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from backend.errors import UserError
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.glb import read_glb, write_glb
from backend.mesh.names import ShadingName

RECIPE = {
    "prompt": 'a "red" mug: ümlaut, 杯',
    "settings": {"seed": 7, "cfg": 12.5, "tiny": 1e-300, "third": 1 / 3, "resume": False, "level": None},
    "versions": ["1.0", []],
}


def box(half: tuple[float, float, float] = (0.5, 0.3, 0.2)) -> TriangleMesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return TriangleMesh(corners.astype(np.float32), np.array(triangles, np.int32))


def asset() -> Asset:
    """A box whose front (-y) shows the upper left quarter of its texture, and everything else a corner below."""
    mesh = box()
    rng = np.random.default_rng(0)
    uvs = rng.uniform(0, 0.4, (12, 3, 2)).astype(np.float32)
    front = mesh.vertices[mesh.triangles][:, :, 1].max(1) < 0
    at = mesh.vertices[mesh.triangles[front]]
    uvs[front] = np.stack([(at[:, :, 0] + 0.5) / 2, 0.5 + (at[:, :, 2] + 0.2) / 0.8], axis=-1)
    return Asset(mesh, uvs, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), shaded(mesh, "auto"))


def chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The two chunks of a GLB file, each promise of its layout checked (glTF 2.0, section 4.4)."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, json_kind = struct.unpack_from("<I4s", data, 12)
    assert (json_length % 4, json_kind) == (0, b"JSON")
    binary_length, binary_kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert (binary_length % 4, binary_kind) == (0, b"BIN\0")
    assert 28 + json_length + binary_length == len(data)
    return json.loads(data[20 : 20 + json_length]), data[28 + json_length :]


def attribute(tree: dict[str, Any], binary: bytes, name: str) -> np.ndarray:
    (primitive,) = tree["meshes"][0]["primitives"]
    accessor = tree["accessors"][primitive["indices"] if name == "indices" else primitive["attributes"][name]]
    view = tree["bufferViews"][accessor["bufferView"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    kind = {5125: np.uint32, 5126: np.float32}[accessor["componentType"]]
    start = view["byteOffset"] + accessor.get("byteOffset", 0)
    return np.frombuffer(binary, kind, accessor["count"] * width, start).reshape(-1, width)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.glb"
    write_glb(asset(), path, "Red Mug", RECIPE)
    return path


def test_the_file_says_what_gltf_wants_it_to(written: Path) -> None:
    tree, binary = chunks(written.read_bytes())
    assert tree["asset"]["version"] == "2.0"
    assert tree["asset"]["extras"] == {"recipe": RECIPE}
    (material,) = tree["materials"]
    surface = material["pbrMetallicRoughness"]
    assert (surface["metallicFactor"], surface["roughnessFactor"]) == (0.0, 0.8)
    image = tree["images"][tree["textures"][surface["baseColorTexture"]["index"]]["source"]]
    view = tree["bufferViews"][image["bufferView"]]
    assert image["mimeType"] == "image/png"
    picture = Image.open(io.BytesIO(binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]))
    np.testing.assert_array_equal(np.asarray(picture), asset().texture)


def test_everything_in_the_file_has_its_name(written: Path) -> None:
    tree, _ = chunks(written.read_bytes())
    names = [[one["name"] for one in tree[kind]] for kind in ("nodes", "meshes", "materials", "images")]
    assert names == [["Red Mug"]] * 4


def test_each_part_of_the_buffer_says_what_it_holds(written: Path) -> None:
    tree, _ = chunks(written.read_bytes())
    (primitive,) = tree["meshes"][0]["primitives"]
    targets = {tree["accessors"][primitive["indices"]]["bufferView"]: 34963}  # ELEMENT_ARRAY_BUFFER
    for accessor in primitive["attributes"].values():
        targets[tree["accessors"][accessor]["bufferView"]] = 34962  # ARRAY_BUFFER
    assert len(targets) == 4
    for index, view in enumerate(tree["bufferViews"]):
        assert view.get("target") == targets.get(index)  # the picture is neither


def test_positions_are_y_up_with_the_front_towards_plus_z(written: Path) -> None:
    tree, binary = chunks(written.read_bytes())
    points = attribute(tree, binary, "POSITION")
    # Half sides x 0.5, y 0.3, z 0.2 become x 0.5, y 0.2, z 0.3.
    np.testing.assert_allclose(points.max(0), [0.5, 0.2, 0.3], rtol=1e-6)
    triangles = points[attribute(tree, binary, "indices").reshape(-1, 3)]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert ((normals * triangles.mean(1)).sum(-1) > 0).all()
    # Blender's importer does (x, y, z) -> (x, -z, y).
    back = {tuple(np.round([x, -z, y], 5)) for x, y, z in points.tolist()}
    assert back == {tuple(np.round(p, 5)) for p in box().vertices.tolist()}


def test_the_texture_is_the_right_way_up(written: Path) -> None:
    tree, binary = chunks(written.read_bytes())
    points, uv = attribute(tree, binary, "POSITION"), attribute(tree, binary, "TEXCOORD_0")
    normals = attribute(tree, binary, "NORMAL")
    front = normals[:, 2] > 0.9
    assert front.sum() == 4
    # glTF's v grows downwards: the front's upper left corner is at the texture's upper left.
    upper_left = front & (points[:, 0] < 0) & (points[:, 1] > 0)
    np.testing.assert_allclose(uv[upper_left], [[0.0, 0.0]], atol=1e-6)
    lower_right = front & (points[:, 0] > 0) & (points[:, 1] < 0)
    np.testing.assert_allclose(uv[lower_right], [[0.5, 0.5]], atol=1e-6)


def test_normals_are_unit_and_the_same_on_both_sides_of_a_seam(tmp_path: Path) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3)
    mesh = TriangleMesh(sphere.vertices.astype(np.float32), sphere.faces.astype(np.int32))
    uvs = np.random.default_rng(0).uniform(0, 1, (len(mesh.triangles), 3, 2)).astype(np.float32)
    write_glb(Asset(mesh, uvs, asset().texture, shaded(mesh, "auto")), tmp_path / "ball.glb", "Ball", {})
    tree, binary = chunks((tmp_path / "ball.glb").read_bytes())
    points, normals = attribute(tree, binary, "POSITION"), attribute(tree, binary, "NORMAL")
    assert len(points) == 3 * len(mesh.triangles)  # every corner is a seam
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, rtol=1e-5)
    assert (points * normals).sum(-1).min() > 0.999
    _, place = np.unique(points, axis=0, return_inverse=True)
    order = np.argsort(place.reshape(-1), kind="stable")
    same = np.diff(place.reshape(-1)[order]) == 0
    assert np.abs(np.diff(normals[order], axis=0)[same]).max() < 1e-5


@pytest.mark.parametrize(("shading", "split"), [("smooth", 8), ("auto", 24), ("flat", 24)])
def test_vertices_are_split_where_the_shading_breaks_off(tmp_path: Path, shading: ShadingName, split: int) -> None:
    mesh = box()
    uvs = np.zeros((12, 3, 2), np.float32)
    write_glb(Asset(mesh, uvs, asset().texture, shaded(mesh, shading)), tmp_path / "box.glb", "Box", {})
    tree, binary = chunks((tmp_path / "box.glb").read_bytes())
    assert len(attribute(tree, binary, "POSITION")) == split


def test_only_what_needs_it_is_split(tmp_path: Path) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=2)
    mesh = TriangleMesh(sphere.vertices.astype(np.float32), sphere.faces.astype(np.int32))
    uvs = (mesh.vertices[mesh.triangles][:, :, :2] + 1) / 2
    write_glb(Asset(mesh, uvs, asset().texture, shaded(mesh, "auto")), tmp_path / "ball.glb", "Ball", {})
    assert len(read_glb(tmp_path / "ball.glb")[0].mesh.vertices) == len(mesh.vertices)


def test_reading_gives_back_what_was_written(written: Path) -> None:
    found, recipe = read_glb(written)
    expected = asset()
    assert recipe == RECIPE
    np.testing.assert_array_equal(found.texture, expected.texture)
    np.testing.assert_allclose(found.uvs, expected.uvs, atol=1e-6)
    np.testing.assert_allclose(found.normals, expected.normals, atol=1e-6)
    np.testing.assert_array_equal(
        found.mesh.vertices[found.mesh.triangles], expected.mesh.vertices[expected.mesh.triangles]
    )
    assert len(np.unique(found.mesh.vertices, axis=0)) == len(expected.mesh.vertices)


def test_other_readers_see_the_same_solid(written: Path) -> None:
    (mesh,) = trimesh.load_scene(written).geometry.values()
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(8 * 0.5 * 0.3 * 0.2, rel=1e-5)


def test_a_full_disk_leaves_what_was_there(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_glb(asset(), written, "Red Mug", {"other": 1})
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_a_recipe_that_is_no_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for recipe in ({"loss": float("nan")}, {"path": tmp_path}):
        with pytest.raises((ValueError, TypeError)):
            write_glb(asset(), tmp_path / "mesh.glb", "Red Mug", recipe)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 3, 19, 30, 500, -40])
def test_damaged_files_are_named(written: Path, kept: int) -> None:
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"mesh\.glb"):
        read_glb(written)


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "other.glb")
    (tmp_path / "text.glb").write_text("not a mesh at all, but long enough to have a header")
    for name in ("other.glb", "text.glb"):
        with pytest.raises(UserError, match="no mesh of this program"):
            read_glb(tmp_path / name)
