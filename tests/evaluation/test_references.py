"""F-scores against the objects of a folder, for solids whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from backend.errors import UserError
from backend.evaluation.references import References, turned
from backend.mesh.asset import TriangleMesh
from backend.prior import catalogue, objects

WEDGE = trimesh.creation.extrude_triangulation(np.array([[-1, -0.3], [1, -0.3], [1, 0.3]]), np.array([[0, 1, 2]]), 0.5)
LINES = [
    {"file": "0.glb", "noun": "wedge", "has_front": True},
    {"file": "1.glb", "noun": "ramp"},
    {"file": "2.glb", "noun": "ramp"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("objects")
    for line in LINES:
        mesh = trimesh.creation.icosphere(2) if line["file"] == "2.glb" else WEDGE
        (made / str(line["file"])).write_bytes(trimesh.Scene([mesh]).export(file_type="glb"))
    (made / catalogue.FILE).write_text("\n".join(map(json.dumps, LINES)))
    return made


@pytest.fixture(scope="module")
def wedge(folder: Path) -> TriangleMesh:
    return objects.read(folder / "0.glb").mesh


def test_the_object_itself_scores_high_and_the_best_of_a_kind_counts(folder: Path, wedge: TriangleMesh) -> None:
    references = References.of(folder)
    for noun in ("wedge", "ramp"):
        scores = references.f_scores(wedge, noun)
        assert scores
        assert min(scores) > 0.98
    ball = objects.read(folder / "2.glb").mesh
    (close, _), (wrong, _) = (references.f_scores(ball, noun) or () for noun in ("ramp", "wedge"))
    assert close > 0.95
    assert wrong < 0.3


def test_only_what_has_no_front_may_be_turned(folder: Path, wedge: TriangleMesh) -> None:
    references, quarter = References.of(folder), turned(wedge, 1)
    free, fixed = (references.f_scores(quarter, noun) for noun in ("ramp", "wedge"))
    assert free
    assert fixed
    assert free[0] > 0.98
    assert fixed[0] < 0.6


def test_what_nothing_is_called_has_no_score_and_what_has_no_surface_none_above_zero(
    folder: Path, wedge: TriangleMesh
) -> None:
    references = References.of(folder)
    assert references.f_scores(wedge, "mug") is None
    assert references.f_scores(None, "wedge") == (0, 0)


def test_other_objects_have_another_revision(folder: Path, tmp_path: Path) -> None:
    whole = References.of(folder)
    assert whole.revision.startswith("3 objects, sha256:")
    assert whole.revision == References.of(folder).revision
    assert References(folder, whole.entries[:2]).revision != whole.revision
    with pytest.raises(UserError, match="holds no objects"):
        References.of(tmp_path)


def test_a_quarter_turn_brings_x_to_y() -> None:
    mesh = TriangleMesh(np.array([[1.0, 0.0, 0.5]], np.float32), np.zeros((0, 3), np.int32))
    np.testing.assert_allclose(turned(mesh, 1).vertices, [[0.0, 1.0, 0.5]])
    np.testing.assert_allclose(turned(turned(mesh, 1), 3).vertices, mesh.vertices)
