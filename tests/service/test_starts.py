"""What an artist sent becomes the files that the pipeline begins from."""

from array import array
from pathlib import Path

import numpy as np
import pytest
import trimesh

from backend.errors import UserError
from backend.service import starts
from shared import meshes
from shared.inputs import MESH, PICTURE, Start

SHA = "ab" * 32
VERTICES = array("f", [0, 0, 0, 1, 0, 0, 0, 1, 0, 0.25, 0.5, -1])
TRIANGLES = array("I", [0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3])
UVS = array("f", [0.1 * number for number in range(24)])


def read(path: Path) -> trimesh.Trimesh:
    (mesh,) = trimesh.load_scene(path, process=False).geometry.values()
    return mesh


def given(tmp_path: Path, **columns: array) -> Path:
    path = tmp_path / "7"
    path.write_bytes(
        meshes.pack(memoryview(VERTICES), memoryview(TRIANGLES), **{n: memoryview(c) for n, c in columns.items()})
    )
    return path


def corners(path: Path) -> np.ndarray:
    """The corners of all triangles, z up."""
    mesh = read(path)
    return (np.asarray(mesh.vertices) @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]])[mesh.faces]


def test_a_mesh_keeps_its_triangles_and_texture_coordinates_in_their_order(tmp_path: Path) -> None:
    path, mask = starts.prepared(Start(MESH, SHA, "x"), given(tmp_path, uvs=UVS), tmp_path / "job")
    assert mask is None
    assert np.array_equal(corners(path), np.reshape(VERTICES, (-1, 3))[np.reshape(TRIANGLES, (-1, 3))])
    mesh = read(path)
    assert np.allclose(mesh.visual.uv[mesh.faces].ravel(), UVS, atol=1e-6)


def test_a_mesh_without_texture_coordinates_has_none(tmp_path: Path) -> None:
    path, _ = starts.prepared(Start(MESH, SHA, "x"), given(tmp_path), tmp_path / "job")
    assert np.array_equal(corners(path), np.reshape(VERTICES, (-1, 3))[np.reshape(TRIANGLES, (-1, 3))])
    assert getattr(read(path).visual, "uv", None) is None


def test_the_same_mesh_is_the_same_file(tmp_path: Path) -> None:
    files = [starts.prepared(Start(MESH, SHA, "x"), given(tmp_path, uvs=UVS), tmp_path / name)[0] for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_mask_names_the_triangles_that_are_painted(tmp_path: Path) -> None:
    path = given(tmp_path, mask=array("B", [0, 1, 0, 1]))
    _, mask = starts.prepared(Start(MESH, SHA, "x"), path, tmp_path / "job")
    assert mask
    assert mask.read_text() == "1 3"


def test_a_picture_is_as_it_was_sent(tmp_path: Path) -> None:
    sent = tmp_path / "7"
    sent.write_bytes(b"\x89PNG")
    path, mask = starts.prepared(Start(PICTURE, SHA, "front"), sent, tmp_path / "job")
    assert (path.name, path.read_bytes(), mask) == ("start.png", b"\x89PNG", None)


def test_what_is_no_mesh_is_one_sentence(tmp_path: Path) -> None:
    path = given(tmp_path)
    path.write_bytes(path.read_bytes()[:-12] + b"\xff" * 12)
    with pytest.raises(UserError, match="a triangle of a vertex that is not there"):
        starts.prepared(Start(MESH, SHA, "x"), path, tmp_path / "job")
