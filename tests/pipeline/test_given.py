"""An artist's mesh: what is kept of it, where it has to lie, and the sentence for what cannot be worked with."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from backend.errors import UserError
from backend.mesh.unwrap import overlapping
from backend.pipeline import given
from backend.pipeline.given import as_asset, marked, read
from tests.pipeline.things import TEXELS, box, picture, save


def turned(vertices: np.ndarray) -> np.ndarray:
    """From glTF's world into ours."""
    return np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=-1)


def test_a_mesh_is_taken_as_it_is(tmp_path: Path) -> None:
    vertices, triangles, uvs = box()
    found = read(save(tmp_path / "box.glb"))
    assert np.array_equal(found.mesh.vertices, turned(vertices))
    assert np.array_equal(found.mesh.triangles, triangles)
    assert found.uvs is not None
    np.testing.assert_allclose(found.uvs, uvs[triangles], atol=1e-7)
    assert found.picture is not None
    assert np.array_equal(found.picture, np.asarray(picture()))
    lengths = np.linalg.norm(found.normals, axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_it_is_moved_into_the_unit_sphere_and_back(tmp_path: Path) -> None:
    found = read(save(tmp_path / "box.glb"))
    asset, _ = as_asset(found, TEXELS)
    inside = found.placement.inwards(asset)
    assert np.linalg.norm(inside.mesh.vertices, axis=-1).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(inside.mesh.vertices.mean(0), 0, atol=1e-6)
    back = found.placement.outwards(inside)
    np.testing.assert_allclose(back.mesh.vertices, asset.mesh.vertices, atol=1e-5)
    assert back.mesh.triangles is inside.mesh.triangles is asset.mesh.triangles


def test_texture_coordinates_that_can_be_painted_on_are_kept_with_their_picture(tmp_path: Path) -> None:
    found = read(save(tmp_path / "box.glb"))
    asset, notes = as_asset(found, 256)
    assert notes == []
    assert asset.uvs is found.uvs
    assert np.array_equal(asset.texture, np.asarray(picture()))


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_texture_coordinates_without_room_to_paint_are_replaced_and_it_is_said(tmp_path: Path, factor: float) -> None:
    """All on one texel of a palette, or beyond the picture, as where it is repeated."""
    asset, notes = as_asset(read(save(tmp_path / "box.glb", uvs=box()[2] * factor)), 128)
    assert len(notes) == 1
    assert "new ones" in notes[0]
    assert not overlapping(asset.uvs, 128).any()
    assert asset.texture.std() > 10 or factor == 0.0  # its colours came along


@pytest.mark.parametrize(("count", "kept"), [(2, True), (3, False), (6, False)])
def test_two_copies_that_share_one_layout_keep_it_and_more_do_not(tmp_path: Path, count: int, kept: bool) -> None:
    """As Blender's primitives do when they are joined, and mirrored halves."""
    vertices, triangles, uvs = box()
    several = save(
        tmp_path / "boxes.glb",
        vertices=np.concatenate([np.add(vertices, (5 * copy, 0, 0)) for copy in range(count)]),
        triangles=np.concatenate([triangles + copy * len(vertices) for copy in range(count)]),
        uvs=np.tile(uvs, (count, 1)),
    )
    asset, notes = as_asset(read(several), 256)
    assert (notes == []) == kept
    assert kept or not overlapping(asset.uvs, 256).any()


def test_a_mesh_without_texture_coordinates_gets_some(tmp_path: Path) -> None:
    found = read(save(tmp_path / "box.glb", textured=False))
    assert (found.uvs, found.surface, found.picture) == (None, None, None)
    asset, notes = as_asset(found, 128)
    assert notes == []
    assert not overlapping(asset.uvs, 128).any()
    assert (asset.texture == 128).all()


def test_other_kinds_of_files_are_read_too(tmp_path: Path) -> None:
    vertices, triangles, _ = box()
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    mesh.export(tmp_path / "box.ply")
    assert np.array_equal(read(tmp_path / "box.ply").mesh.vertices, vertices)  # z up already
    mesh.export(tmp_path / "box.obj")
    np.testing.assert_allclose(read(tmp_path / "box.obj").mesh.vertices, turned(vertices), atol=1e-6)


def spoilt(value: float) -> np.ndarray:
    vertices, _, _ = box()
    vertices[3, 1] = value
    return vertices


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vertices": spoilt(np.nan)}, "vertices that are nowhere"),
        ({"vertices": spoilt(np.inf)}, "vertices that are nowhere"),
        ({"vertices": np.zeros((24, 3), np.float32)}, "has no extent; export a mesh that has a surface"),
        ({"vertices": spoilt(3e38)}, "is too large; scale the mesh down"),
    ],
)
def test_a_mesh_that_cannot_be_worked_with_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        read(save(tmp_path / "box.glb", **changes))


def test_too_many_triangles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "box.glb")
    monkeypatch.setattr(given, "MOST_FACES", 12)
    assert len(read(path).mesh.triangles) == 12
    monkeypatch.setattr(given, "MOST_FACES", 11)
    with pytest.raises(UserError, match="has 12 triangles; decimate it to 11 at most"):
        read(path)


@pytest.mark.parametrize("name", ["torn.glb", "words.txt"])
def test_what_is_no_mesh_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(save(tmp_path / "box.glb").read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / name)


def test_triangles_are_marked_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mask.txt"
    path.write_text("0 3\n4\n")
    assert marked(path, 5).tolist() == [True, False, False, True, True]
    assert marked(None, 2).tolist() == [True, True]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "numbers from 0 to 4"),
        ("5", "numbers from 0 to 4"),
        ("-1", "numbers from 0 to 4"),
        ("1.5", "no list of triangles"),
        ("\udcff", "no list of triangles"),
    ],
)
def test_a_mask_that_says_nothing_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mask.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=sentence):
        marked(path, 5)
