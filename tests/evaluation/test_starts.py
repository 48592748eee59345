"""What runs begin from, and how what comes of them is measured, on objects whose answers are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from backend.engine.cameras import ring
from backend.engine.reference import Reference
from backend.errors import UserError
from backend.evaluation import starts
from backend.evaluation.beginnings import begun, boxes
from backend.evaluation.references import References
from backend.evaluation.runs import BEGINNINGS, Beginning, Run, picture_of
from backend.evaluation.starts import Truth, check
from backend.guidance import library
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.mesh import raycast
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.glb import y_up
from backend.pipeline.given import read
from backend.pipeline.picture import reference
from backend.pipeline.request import Request
from backend.pipeline.start import Start, digest
from backend.prior import catalogue, judge
from backend.prior.judge import Judge
from backend.prior.pictures import save_sheet

FRONT = ring(1, elevation_degrees=0)
RED, BLUE = [200, 30, 30, 255], [30, 30, 200, 255]
LINES = [
    {"file": "0.glb", "noun": "mug", "phrases": ["a thing nobody knows", "a red mug"], "has_front": True},
    {"file": "1.glb", "noun": "mug", "phrases": ["a blue mug"]},
    {"file": "2.glb", "noun": "sword"},
]


def tower_and_hut() -> list[trimesh.Trimesh]:
    """A tall red box at the left, as one sees it from the front, and a low blue one at the right, nearer."""
    tower = trimesh.creation.box(bounds=[[-0.5, 0.0, 0.0], [-0.1, 0.4, 1.0]])
    hut = trimesh.creation.box(bounds=[[-0.1, -0.5, 0.0], [0.6, 0.1, 0.3]])
    for box, colour in ((tower, RED), (hut, BLUE)):
        box.visual.vertex_colors = np.tile(np.array(colour, np.uint8), (len(box.vertices), 1))
    return [tower, hut]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    """Two boxes that look alike from nowhere else, called a mug; a ball, too; and a thin post, called a sword."""
    folder = tmp_path_factory.mktemp("objects")
    shapes = tower_and_hut(), [trimesh.creation.icosphere(2)], [trimesh.creation.cylinder(0.01, 1.0)]
    for line, parts in zip(LINES, shapes, strict=True):
        for part in parts:
            part.vertices = y_up(part.vertices.astype(np.float32))
        (folder / str(line["file"])).write_bytes(trimesh.Scene(parts).export(file_type="glb"))
    (folder / catalogue.FILE).write_text("\n".join(map(json.dumps, LINES)))
    return References.of(folder)


@pytest.fixture(scope="module")
def mug(references: References) -> Truth:
    return Truth.of(references, "mug")


@pytest.fixture(scope="module")
def net() -> Judge:
    return judge.load(library.builtin().folder)


@pytest.fixture(scope="module")
def guidance() -> DiffusionGuidance:
    return load(library.builtin().folder, torch.device("cpu"), "fp32")


def test_the_first_object_of_a_name_is_begun_from(references: References, mug: Truth, net: Judge) -> None:
    assert mug.entry.file == "0.glb"
    check(references, [net.lexicon.knows("a mug"), net.lexicon.knows("a sword")])
    with pytest.raises(UserError, match='holds no "fox"'):
        check(references, [net.lexicon.knows("a mug"), net.lexicon.knows("a fox")])
    with pytest.raises(UserError, match="--objects"):
        check(None, [])


def test_a_bare_mesh_has_the_shape_and_the_shading_alone(mug: Truth, tmp_path: Path) -> None:
    path = begun("paint", mug.asset, tmp_path)
    assert path
    given = read(path)
    assert given.surface is None
    assert given.uvs is None
    corners = given.mesh.vertices[given.mesh.triangles]
    np.testing.assert_allclose(corners, mug.asset.mesh.vertices[mug.asset.mesh.triangles], atol=1e-5)
    np.testing.assert_allclose(given.normals, mug.asset.normals, atol=1e-3)


def test_boxes_stand_around_the_slices_of_an_object(mug: Truth, tmp_path: Path) -> None:
    found = boxes(mug.asset.mesh)
    assert len(found.triangles) == 4 * 12
    upper, lower = (found.vertices[found.vertices[:, 2] * side > 0.3 * side] for side in (1, -1))
    assert np.ptp(lower[:, 0]) > 2 * np.ptp(upper[:, 0]), "below the hut stands, too"
    assert upper[:, 0].max() < 0.2, "the tower is on the left"
    whole = mug.asset.mesh.vertices
    ends, true = ([of.min(0), of.max(0)] for of in (found.vertices, whole))
    np.testing.assert_allclose(ends, true, atol=0.02)
    path = begun("blockout", mug.asset, tmp_path)
    assert path
    np.testing.assert_allclose(np.unique(read(path).mesh.vertices, axis=0), np.unique(found.vertices, axis=0))


@pytest.mark.parametrize("beginning", ["picture", "sketch"])
def test_the_front_of_an_object_is_seen_in_its_picture(beginning: Beginning, mug: Truth, tmp_path: Path) -> None:
    path = begun(beginning, mug.asset, tmp_path)
    assert path
    found = reference(Start("picture", path, digest(path), 1.0, sketch=beginning == "sketch")).pictured(128)
    there = found.opacity[0] >= 0.5
    rows, columns = there.any(1).nonzero()[:, 0], there.any(0).nonzero()[:, 0]
    top = there[rows[0] + 3].nonzero()[:, 0]
    assert top.max() < columns.float().mean(), "the tower is on the left"
    left, right = there.clone(), there.clone()
    left[:, columns[0] + len(columns) // 3 :] = right[:, : columns[0] + len(columns) // 2] = False
    if beginning == "picture":
        for side, strong, weak in ((left, 0, 2), (right, 2, 0)):
            colour = found.colour[0][:, side].mean(1)
            assert colour[strong] > 2 * colour[weak]


@pytest.mark.parametrize(
    "beginning", [pytest.param(name, marks=[pytest.mark.long] * (name in ("nothing", "sketch"))) for name in BEGINNINGS]
)
def test_a_run_begins_from_what_it_is_named_after(
    beginning: Beginning,
    references: References,
    net: Judge,
    guidance: DiffusionGuidance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Request] = []
    planned: Callable[[Request], object] = starts.planned
    monkeypatch.setattr(starts, "planned", lambda request: asked.append(request) or planned(request))
    run = Run("starts", beginning, "time_prior", 2, "a mug", 0)
    row, pictures = starts.measured(run, "builtin", "cpu", guidance, net, references)
    assert (row.run, row.failure) == (run, "")
    assert pictures.shape[:2] == (3, 3)
    (request,) = asked
    assert request.prompt == ("a red mug" if beginning == "paint" else "a mug")
    assert (request.start is None) == (beginning == "nothing")
    special = {name for names in starts._OF.values() for name in names}
    assert special & row.measures.keys() == set(starts._OF[beginning])
    assert row.measures.keys() >= set(starts._ALL)
    assert all(np.isfinite(value) for value in row.measures.values())
    if beginning == "paint":
        assert row.measures["own_f_score"] > 0.99, "the shape stays"
        assert row.measures["plain_apart"] > 10, "the object has two colours"
    if beginning == "blockout":
        assert row.measures["box_iou"] > 0.8


def test_the_object_itself_has_the_best_of_all_measures(
    references: References, mug: Truth, net: Judge, guidance: DiffusionGuidance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had a run made the object itself, or the boxes, each measure would say so."""

    front = raycast.render(mug.asset, FRONT, 512)

    def scored(beginning: Beginning, made: Asset) -> dict[str, float]:
        wanted = Reference(FRONT, front.opacity[0], front.colour[0]) if beginning == "picture" else None
        monkeypatch.setattr(starts, "_made", lambda *of: (made, wanted))
        run = Run("starts", beginning, "time_prior", 2, "a mug", 0)
        return dict(starts.measured(run, "builtin", "cpu", guidance, net, references)[0].measures)

    turned = Asset(
        TriangleMesh(mug.asset.mesh.vertices * np.float32([-1, -1, 1]), mug.asset.mesh.triangles),
        mug.asset.uvs,
        mug.asset.texture,
        mug.asset.normals,
    )
    assert scored("paint", mug.asset)["apart"] < 0.5
    assert scored("nothing", mug.asset)["own_f_score"] > 0.99 > 1.5 * scored("nothing", turned)["own_f_score"]
    whole = boxes(mug.asset.mesh)
    stand_in = Asset(
        whole, np.zeros((len(whole.triangles), 3, 2), np.float32), turned.texture, raycast.corner_normals(whole)
    )
    assert scored("nothing", stand_in)["box_iou"] > 0.98 > 1.1 * scored("nothing", turned)["box_iou"]
    found, wrong = scored("picture", mug.asset), scored("picture", turned)
    assert found["front_iou"] > 0.99 > 1.5 * wrong["front_iou"]
    assert found["front_psnr"] > 30 > wrong["front_psnr"] + 10


def test_where_nothing_comes_of_it_everything_is_missed_and_the_suite_goes_on(
    references: References, net: Judge, guidance: DiffusionGuidance
) -> None:
    run = Run("starts", "sketch", "time_prior", 2, "a sword", 0)
    row, pictures = starts.measured(run, "builtin", "cpu", guidance, net, references)
    assert "open" in row.failure, "so thin an outline is taken for lines"
    assert set(row.measures) == {*starts._ALL, "front_iou"}
    assert not any(row.measures.values())
    assert pictures.shape[:2] == (3, 3)
    assert pictures[1:].min() == pictures[1:].max(), "nothing came of it"
    assert pictures[0].min() < 0.5 < pictures[0].max(), "the sketch is shown before it"


def test_the_section_compares_like_with_like_and_names_what_failed(tmp_path: Path) -> None:
    def row(beginning: Beginning, prompt: str, score: float, failure: str = "") -> starts.Row:
        return starts.Row(Run("starts", beginning, "time_prior", 2, prompt, 0), {"few": score}, failure=failure)

    rows = [row(name, prompt, 1.0) for prompt in ("a mug", "a bowl") for name in BEGINNINGS]
    rows.append(row("paint", "a fox", 0.0, "no such fox"))
    text = starts.section(rows, "So made.", tmp_path)
    assert "| paint | common 2 |  | 1.000 (1.000 to 1.000) |" in text
    assert "| paint | all 3 |  | 0.667 (" in text
    assert "a fox (paint: no such fox)" in text
    assert "sheet" not in text, "there are no pictures"
    for run in [row.run for row in rows[:-1]]:
        place = BEGINNINGS.index(cast(Beginning, run.variant))
        save_sheet(torch.full((3, 3, 4, 4), place / 4), picture_of(run, tmp_path), columns=3, zoom=1)
    assert "![sheet](starts-sheet.png)" in starts.section(rows, "So made.", tmp_path)
    shown = np.asarray(Image.open(tmp_path / "starts-sheet.png"))
    assert shown.shape == (2 * 4, len(BEGINNINGS) * 3 * 4, 3)
    assert [shown[6, 12 * place, 0] for place in range(len(BEGINNINGS))] == [0, 64, 128, 191, 255]
