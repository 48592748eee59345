"""What runs begin from, and how what comes of them is measured, on objects whose answers are known."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import trimesh

from backend.errors import UserError
from backend.evaluation import starts
from backend.evaluation.beginnings import begun, boxes
from backend.evaluation.references import References
from backend.evaluation.runs import Beginning, Run
from backend.evaluation.starts import Truth
from backend.guidance import library
from backend.guidance.loading import load
from backend.mesh.asset import TriangleMesh
from backend.mesh.fidelity import f_scores
from backend.pipeline.given import read
from backend.pipeline.picture import reference
from backend.pipeline.start import Start, digest
from backend.prior import catalogue, judge
from backend.prior.judge import Judge
from backend.prior.objects import to_display

RED = [200, 30, 30, 255]
LINES = [
    {"file": "0.glb", "noun": "mug", "phrases": ["a thing nobody knows", "a red mug"]},
    {"file": "1.glb", "noun": "mug", "phrases": ["a blue mug"]},
    {"file": "2.glb", "noun": "sword"},
]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    """A red cylinder, called a mug; another one; and a thin post, called a sword."""
    folder = tmp_path_factory.mktemp("objects")
    for line, radius in zip(LINES, (0.4, 0.4, 0.05), strict=True):
        mesh = trimesh.creation.cylinder(radius, 1.0)
        mesh.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))  # glTF's y is up
        mesh.visual.vertex_colors = np.tile(np.array(RED, np.uint8), (len(mesh.vertices), 1))
        (folder / str(line["file"])).write_bytes(trimesh.Scene([mesh]).export(file_type="glb"))
    (folder / catalogue.FILE).write_text("\n".join(map(json.dumps, LINES)))
    return References.of(folder)


@pytest.fixture(scope="module")
def mug(references: References) -> Truth:
    return Truth.of(references, "mug")


@pytest.fixture(scope="module")
def net() -> Judge:
    return judge.load(library.builtin().folder)


def test_the_first_object_of_a_name_is_begun_from(references: References, mug: Truth) -> None:
    assert mug.phrases == ("a thing nobody knows", "a red mug")
    with pytest.raises(UserError, match='holds no "unicorn"'):
        Truth.of(references, "unicorn")


def test_a_bare_mesh_has_the_shape_alone(mug: Truth, tmp_path: Path) -> None:
    path = begun("paint", mug.asset, tmp_path)
    assert path
    given = read(path)
    assert given.surface is None
    assert given.uvs is None
    (score,) = f_scores(given.mesh, mug.asset.mesh, (0.05,), torch.Generator().manual_seed(0))
    assert score > 0.99, "it stands as the object does"


def test_boxes_stand_around_the_slices_of_an_object(mug: Truth) -> None:
    """Of an object that is as wide as it is high at its foot, and thin above, so are they."""
    whole = np.concatenate([mug.asset.mesh.vertices, mug.asset.mesh.vertices * (0.1, 0.1, 1) + (0, 0, 2)])
    triangles = mug.asset.mesh.triangles
    found = boxes(TriangleMesh(whole.astype(np.float32), np.concatenate([triangles, triangles + len(whole) // 2])))
    assert len(found.triangles) == 4 * 12
    low, high = (found.vertices[found.vertices[:, 2] * side > 1 * side, 0] for side in (-1, 1))
    assert np.ptp(low) > 5 * np.ptp(high)
    assert np.allclose([found.vertices.min(0), found.vertices.max(0)], [whole.min(0), whole.max(0)], atol=0.02)


@pytest.mark.parametrize("beginning", ["picture", "sketch"])
def test_the_front_of_an_object_is_seen_in_its_picture(beginning: Beginning, mug: Truth, tmp_path: Path) -> None:
    path = begun(beginning, mug.asset, tmp_path)
    assert path
    found = reference(Start("picture", path, digest(path), 1.0, sketch=beginning == "sketch"))
    assert found.opacity.mean() > 0.1
    if beginning == "sketch":
        assert found.colour is None
    else:
        assert found.colour is not None
        seen = found.colour[:, found.opacity == 1].mean(1)
        assert torch.allclose(seen, to_display(torch.tensor(RED[:3]) / 255), atol=0.02)


@pytest.mark.parametrize("beginning", get_args(Beginning))
def test_a_run_begins_from_what_it_is_named_after(
    beginning: Beginning, references: References, net: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def planned(request: starts.Request) -> object:
        asked.append(request)
        return real(request)

    real = starts.planned
    monkeypatch.setattr(starts, "planned", planned)
    guidance = load(library.builtin().folder, torch.device("cpu"), "fp32")
    run = Run("starts", beginning, "time_prior", 2, "a mug", 0)
    row, pictures = starts.measured(run, "builtin", "cpu", guidance, net, references)
    assert row.run == run
    assert pictures.shape[:2] == (8, 3)
    (request,) = asked
    assert request.prompt == ("a red mug" if beginning == "paint" else "a mug")
    assert (request.start is None) == (beginning == "nothing")
    kept_to = {
        "nothing": {"box_iou"},
        "paint": {"apart", "plain_apart", "true_r_precision"},
        "blockout": {"box_iou"},
        "picture": {"front_iou", "front_psnr"},
        "sketch": {"front_iou"},
    }
    assert kept_to[beginning] <= row.measures.keys()
    assert not [name for other in kept_to.values() for name in other - kept_to[beginning] if name in row.measures]
    assert all(np.isfinite(value) for value in row.measures.values())
    if beginning == "paint":
        assert row.measures["own_f_score"] > 0.99, "the shape stays"
        assert row.measures["plain_apart"] < 2, "the object has one colour"
    if beginning == "blockout":
        assert row.measures["box_iou"] > 0.8


def test_where_nothing_came_of_it_everything_is_missed(
    references: References, net: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*of: object) -> None:
        raise UserError("there is no object; try another seed")

    monkeypatch.setattr(starts, "_made", nothing)
    guidance = load(library.builtin().folder, torch.device("cpu"), "fp32")
    for beginning in ("nothing", "picture"):
        run = Run("starts", beginning, "time_prior", 2, "a mug", 0)
        row, _ = starts.measured(run, "builtin", "cpu", guidance, net, references)
        assert row.failure == "there is no object; try another seed"
        assert row.measures["own_f_score"] < 0.1
        assert row.measures.get("box_iou", 0.0) < 0.5
        assert row.measures.get("front_iou", 0.0) == 0.0
