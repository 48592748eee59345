"""The marks against shapes whose answer is known."""

import numpy as np
import pytest
import torch

from backend.gallery import Marks, best_f_score, pictures, table, turned
from backend.guidance import library
from backend.mesh.asset import Asset, TriangleMesh
from backend.prior import judge
from backend.prior.materials import COLOURS
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS


def exact(name: str, quarter: int = 0) -> TriangleMesh:
    shape = next(shape for shape in SHAPES if shape.name == name)
    mesh = exact_mesh(shape, torch.full((VARIATIONS,), 0.5), 64)
    return TriangleMesh(turned(mesh.vertices.numpy(), quarter), mesh.triangles.numpy().astype(np.int32))


def coloured(mesh: TriangleMesh, colour: str) -> Asset:
    texel = np.round(255 * np.array(COLOURS[colour])).astype(np.uint8)
    return Asset(mesh, np.full((len(mesh.triangles), 3, 2), 0.5, np.float32), np.broadcast_to(texel, (4, 4, 3)).copy())


@pytest.mark.parametrize(("name", "colour"), [("mug", "red"), ("donut", "pink"), ("table", "blue")])
def test_the_judge_knows_the_exact_shapes_by_our_renders(name: str, colour: str) -> None:
    net = judge.load(library.builtin().folder)
    textured, grey = pictures(coloured(exact(name), colour))
    seen, felt = net(textured).together(), net(grey).together()
    assert net.vocabulary.objects[int(seen.objects.argmax())] == name
    assert net.vocabulary.colours[int(seen.colours.argmax())] == colour
    assert net.vocabulary.objects[int(felt.objects.argmax())] == name


def test_an_exact_shape_scores_high_whichever_way_it_faces_and_another_low() -> None:
    assert best_f_score(exact("chair"), "chair") > 0.8
    assert best_f_score(exact("chair", quarter=3), "chair") == pytest.approx(
        best_f_score(exact("chair"), "chair"), abs=0.03
    )
    assert best_f_score(exact("chair"), "sphere") < 0.3


def test_a_quarter_turn_brings_x_to_y() -> None:
    points = np.array([[1.0, 0.0, 0.5]], np.float32)
    np.testing.assert_allclose(turned(points, 1), [[0.0, 1.0, 0.5]], atol=1e-7)
    np.testing.assert_allclose(turned(turned(points, 1), 3), points, atol=1e-7)


def test_the_table_counts() -> None:
    common = {"f_score": 0.5, "faces": 10, "components": 1, "degenerate": 0, "watertight": True, "seconds": 2.0}
    good = Marks("a", True, True, True, psnr=30.0, silhouette_iou=0.99, **common)
    poor = Marks("b", False, True, False, psnr=20.0, silhouette_iou=0.9, **common)
    printed = table([good, poor])
    assert "(R-precision) | 50 % |" in printed
    assert "| right object | 100 % |" in printed
    assert "25.0 (lowest 20.0)" in printed
