"""The measures on shapes, fields and pictures whose answer is known."""

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.evaluation import measures
from backend.evaluation.measures import best_f_scores, mesh_pictures, turned
from backend.guidance import library
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.prior import judge
from backend.prior.captions import Subject
from backend.prior.judge import Judge
from backend.prior.materials import COLOURS
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS


@pytest.fixture(scope="module")
def net() -> Judge:
    return judge.load(library.builtin().folder)


def exact(name: str, variation: Float[Tensor, " v"] | None = None, quarter: int = 0) -> TriangleMesh:
    shape = next(shape for shape in SHAPES if shape.name == name)
    mesh = exact_mesh(shape, torch.full((VARIATIONS,), 0.5) if variation is None else variation, 64)
    return TriangleMesh(turned(mesh.vertices.numpy(), quarter), mesh.triangles.numpy().astype(np.int32))


def coloured(mesh: TriangleMesh, colour: str) -> Asset:
    texel = np.round(255 * np.array(COLOURS[colour])).astype(np.uint8)
    uvs, texture = np.full((len(mesh.triangles), 3, 2), 0.5, np.float32), np.broadcast_to(texel, (4, 4, 3)).copy()
    return Asset(mesh, uvs, texture, shaded(mesh, "auto"))


class Ball:
    """A dense ball of one colour around a point."""

    def __init__(self, radius: float, colour: str = "red") -> None:
        self.radius, self._rgb = radius, torch.tensor(COLOURS[colour])

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return 100.0 * torch.sigmoid(60 * (self.radius - x.norm(dim=-1)))

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return self._rgb.expand(len(x), 3)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        return self.density(x), self.colour(x)


@pytest.mark.parametrize(("name", "colour"), [("mug", "red"), ("donut", "pink"), ("table", "blue")])
def test_the_judge_knows_the_exact_shapes_by_our_renders(net: Judge, name: str, colour: str) -> None:
    textured, grey = mesh_pictures(coloured(exact(name), colour))
    found = measures.judged(net, textured, Subject(name, colour))
    assert (found.measures["r_precision"], found.measures["object"]) == (1, 1)
    assert found.measures["confidence"] > 0.5
    assert found.features.norm() == pytest.approx(1)
    assert measures.right_grey(net, grey, Subject(name, colour)) == 1


@pytest.mark.parametrize("asked", [Subject("mug", "green"), Subject("mug", "red", "striped"), Subject("bowl", "red")])
def test_a_caption_is_wrong_where_one_word_of_it_is(net: Judge, asked: Subject) -> None:
    textured, grey = mesh_pictures(coloured(exact("mug"), "red"))
    found = measures.judged(net, textured, asked).measures
    assert found["r_precision"] == 0
    assert found["view_precision"] < 0.5
    assert found["confidence"] < 0.3
    assert found["object"] == measures.right_grey(net, grey, asked) == float(asked.shape == "mug")


def test_without_a_colour_asked_for_any_is_right(net: Judge) -> None:
    textured, _ = mesh_pictures(coloured(exact("mug"), "red"))
    assert measures.judged(net, textured, Subject("mug")).measures["r_precision"] == 1


def test_a_true_duck_has_one_front_and_two_halves_of_one_have_two(net: Judge) -> None:
    textured, _ = mesh_pictures(coloured(exact("duck"), "yellow"))
    assert measures.janus(net, textured) == 0
    both_ways = textured.clone()
    both_ways[4] = textured[0]  # from behind it looks as from the front
    assert measures.janus(net, both_ways) == 1
    assert measures.janus(net, textured.roll(3, dims=0)) == 0, "whichever way it faces"


@pytest.mark.parametrize("index", range(len(SHAPES)), ids=[shape.name for shape in SHAPES])
def test_a_true_shape_scores_high_whatever_its_proportions_and_whichever_way_it_faces(index: int) -> None:
    name, variation = SHAPES[index].name, torch.rand(VARIATIONS, generator=torch.Generator().manual_seed(1_000 + index))
    assert min(best_f_scores(exact(name, variation, quarter=index % 4), name)) > 0.98


def test_a_shape_that_is_none_of_the_true_ones_scores_low() -> None:
    assert best_f_scores(exact("chair"), "sphere")[0] < 0.3
    small = exact("sphere", torch.zeros(VARIATIONS))
    shrunk = TriangleMesh((0.9 * small.vertices).astype(np.float32), small.triangles)
    close, loose = best_f_scores(shrunk, "sphere")
    assert close < 0.05, "a radius of 0.63 where true ones have 0.7 at least"
    assert loose > 0.95


def test_a_quarter_turn_brings_x_to_y() -> None:
    points = np.array([[1.0, 0.0, 0.5]], np.float32)
    np.testing.assert_allclose(turned(points, 1), [[0.0, 1.0, 0.5]], atol=1e-7)
    np.testing.assert_allclose(turned(turned(points, 1), 3), points, atol=1e-7)


def test_a_red_ball_is_a_red_sphere_in_every_respect(net: Judge) -> None:
    device, asked = torch.device("cpu"), Subject("sphere", "red")
    textured, grey = measures.field_pictures(Ball(0.8), device)
    assert measures.judged(net, textured, asked).measures["r_precision"] == 1
    assert measures.right_grey(net, grey, asked) == 1
    torch.testing.assert_close(textured[:, :, 32, 32], torch.tensor(COLOURS["red"]).expand(8, 3), atol=0.02, rtol=0)
    # Grey in light from the camera: 18 pixels beside the middle the surface has turned by 40 degrees.
    assert grey[0, 0, 32, 32] == pytest.approx(measures.GREY, abs=0.03)
    assert grey[0, 0, 32, 14] == pytest.approx(measures.GREY * (0.5 + 0.5 * np.cos(np.radians(40))), abs=0.02)
    solid = measures.solid(Ball(0.8), device)
    assert solid is not None
    assert min(best_f_scores(solid.mesh, "sphere")) > 0.95
    # Cells that the ball reaches: all in it, and at most those whose middles are less than a diagonal outside.
    least, most = (4 / 3 * np.pi * radius**3 / 8 for radius in (0.8, 0.8 + 2 * 3**0.5 / measures._CELLS))
    assert least < solid.cells.mean() < most
    np.testing.assert_array_equal(measures.unpacked(measures.packed(solid.cells)), solid.cells)


def test_where_nothing_is_there_is_no_solid() -> None:
    assert measures.solid(Ball(-1.0), torch.device("cpu")) is None
