"""The measures on shapes, fields and pictures whose answer is known."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.evaluation import measures
from backend.evaluation.measures import Pictures, judged, mesh_pictures
from backend.guidance import library
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.prior import judge
from backend.prior.catalogue import Entry
from backend.prior.judge import SECTORS, Judge, Verdict
from backend.prior.lexicon import Lexicon
from backend.prior.materials import COLOURS
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS

LEXICON = Lexicon.of(
    [
        *(Entry(noun, noun, (), (), False) for noun in ("bowl", "cube", "donut", "house", "mug", "tree")),
        Entry("armchair", "armchair", ("chair",), (), True),
        Entry("chair", "chair", (), (), True),
    ]
)
VIEWS = torch.zeros(SECTORS, 3, 8, 8)


class Told(Judge):
    """Sees what it is told: for each view a share for each of some nouns, and the way that the object is turned."""

    def __init__(self, seen: Sequence[dict[str, float]], sectors: Sequence[int] = range(SECTORS)) -> None:
        super().__init__(LEXICON)
        rows = torch.full((len(seen), len(LEXICON.nouns)), 1e-6)
        for view, shares in enumerate(seen):
            for noun, share in shares.items():
                rows[view, LEXICON.numbers[noun]] = share
        turned = torch.full((len(seen), SECTORS), 1e-6)
        for view, sector in zip(range(len(seen)), sectors, strict=False):
            turned[view, sector] = 1
        self._verdict = Verdict(rows.log(), turned.log())
        self.eval()

    def forward(self, images: Tensor) -> Verdict:
        return self._verdict


@pytest.fixture(scope="module")
def net() -> Judge:
    return judge.load(library.builtin().folder)


def exact(name: str) -> TriangleMesh:
    shape = next(shape for shape in SHAPES if shape.name == name)
    return exact_mesh(shape, torch.full((VARIATIONS,), 0.5), 64)


def coloured(mesh: TriangleMesh, colour: str) -> Asset:
    texel = np.round(255 * np.array(COLOURS[colour])).astype(np.uint8)
    uvs, texture = np.full((len(mesh.triangles), 3, 2), 0.5, np.float32), np.broadcast_to(texel, (4, 4, 3)).copy()
    return Asset(mesh, uvs, texture, shaded(mesh, "auto"))


class Ball:
    """A dense ball of one colour around the origin."""

    def __init__(self, radius: float, colour: str = "red") -> None:
        self.radius, self._rgb = radius, torch.tensor(COLOURS[colour])

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return 100.0 * torch.sigmoid(60 * (self.radius - x.norm(dim=-1)))

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return self._rgb.expand(len(x), 3)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        return self.density(x), self.colour(x)


def test_all_views_are_judged_together_and_each_by_itself() -> None:
    seen = [{"mug": 0.9, "bowl": 0.1}] * 3 + [{"mug": 0.3, "bowl": 0.7}]
    found = judged(Told(seen), VIEWS[:4], LEXICON.knows("a mug"))
    assert (found["r_precision"], found["view_precision"]) == (1, 0.75)
    assert found["confidence"] == pytest.approx((3 * 0.9 + 0.3) / 4)
    other = judged(Told(seen), VIEWS[:4], LEXICON.knows("a bowl"))
    assert (other["r_precision"], other["few"], other["view_precision"]) == (0, 1, 0.25)


def test_the_first_five_are_five() -> None:
    shares = dict(
        zip(("bowl", "cube", "donut", "house", "mug", "tree"), (0.3, 0.2, 0.15, 0.1, 0.05, 0.02), strict=True)
    )
    few = [judged(Told([shares]), VIEWS[:1], LEXICON.knows(f"a {noun}"))["few"] for noun in shares]
    assert few == [1, 1, 1, 1, 1, 0]


def test_what_an_object_may_be_called_as_well_is_right() -> None:
    seen = [{"chair": 0.6, "armchair": 0.3, "mug": 0.1}]
    found = judged(Told(seen), VIEWS[:1], LEXICON.knows("an armchair"))
    assert found["r_precision"] == 1
    assert found["confidence"] == pytest.approx(0.9)


@pytest.mark.parametrize(("turn", "right"), [(0, 1), (2, 0), (4, 0), (6, 0)])
def test_an_object_faces_right_that_is_turned_by_less_than_an_eighth(turn: int, right: int) -> None:
    net = Told([{"chair": 1.0}] * SECTORS, [(view + turn) % SECTORS for view in range(SECTORS)])
    assert measures.facing(net, VIEWS) == right


def test_one_front_is_told_from_two() -> None:
    around = list(range(SECTORS))
    assert measures.janus(Told([{"chair": 1.0}] * SECTORS, around), VIEWS) == 0
    turned = around[3:] + around[:3]
    assert measures.janus(Told([{"chair": 1.0}] * SECTORS, turned), VIEWS) == 0, "whichever way it faces"
    around[4] = 0
    assert measures.janus(Told([{"chair": 1.0}] * SECTORS, around), VIEWS) == 1, (
        "from behind it looks as from the front"
    )


def test_the_colour_is_that_of_most_of_what_is_seen() -> None:
    unlit = torch.zeros(2, 3, 8, 8)
    unlit[0, :, :, :5] = torch.tensor(COLOURS["blue"])[:, None, None]
    unlit[0, :, :, 5:] = torch.tensor(COLOURS["white"])[:, None, None]
    covered = torch.ones(2, 8, 8, dtype=torch.bool)
    covered[1] = False
    pictures = Pictures(unlit, unlit, unlit, covered)
    assert measures.colour_apart(pictures, "blue") < 1
    assert measures.colour_apart(pictures, "white") > 40
    assert measures.colour_apart(Pictures(unlit, unlit, unlit, ~covered & False), "black") == measures.NOTHING_SEEN


def test_an_object_lacks_what_it_cannot_be_measured_by() -> None:
    pictures = Pictures(VIEWS, VIEWS, VIEWS, torch.ones(SECTORS, 8, 8, dtype=torch.bool))
    judge = Told([{"mug": 1.0}] * SECTORS)
    found = measures.of_object(judge, pictures, None, LEXICON.knows("a mug"), None)
    assert found.keys() == {"r_precision", "few", "view_precision", "confidence", "grey"}
    assert measures.features(judge, VIEWS).norm() == pytest.approx(1)
    chair = measures.of_object(Told([{"chair": 1.0}] * SECTORS), pictures, None, LEXICON.knows("a black chair"), None)
    assert chair.keys() - found.keys() == {"facing", "janus", "colour"}
    assert chair["colour"] < 5


@pytest.mark.parametrize(("name", "colour"), [("mug", "red"), ("donut", "pink"), ("cube", "blue")])
def test_the_judge_knows_exact_shapes_by_our_renders(net: Judge, name: str, colour: str) -> None:
    mesh, pictures = exact(name), mesh_pictures(coloured(exact(name), colour))
    found = measures.of_mesh(net, pictures, mesh, net.lexicon.knows(f"a {colour} {name}"), None)
    assert found["r_precision"] == found["few"] == found["grey"] == 1
    assert found["confidence"] > 0.3
    assert found["colour"] < 2
    other = measures.of_mesh(net, pictures, mesh, net.lexicon.knows("a green wardrobe"), None)
    assert other["r_precision"] == other["few"] == 0
    assert other["colour"] > 30


def test_the_judge_knows_most_solids_by_our_renders(net: Judge) -> None:
    found = {}
    for shape in SHAPES:
        solid, asked = coloured(exact(shape.name), (shape.natural or ("orange",))[0]), net.lexicon.knows(shape.name)
        found[shape.name] = measures.of_mesh(net, mesh_pictures(solid), solid.mesh, asked, None)["few"]
    assert sum(found.values()) >= 0.9 * len(SHAPES), found


def test_a_true_duck_has_one_front_and_faces_right(net: Judge) -> None:
    pictures = mesh_pictures(coloured(exact("duck"), "yellow"))
    assert measures.facing(net, pictures.textured) == 1
    assert measures.facing(net, pictures.textured.roll(2, dims=0)) == 0
    assert measures.janus(net, pictures.textured) == 0


def test_a_red_ball_is_a_red_sphere_in_every_respect(net: Judge) -> None:
    device = torch.device("cpu")
    pictures = measures.field_pictures(Ball(0.8), device)
    found = measures.of_object(net, pictures, None, net.lexicon.knows("a red sphere"), None)
    assert found["few"] == 1
    assert found["colour"] < 2
    centre = pictures.textured[:, :, 32, 32]
    torch.testing.assert_close(centre, torch.tensor(COLOURS["red"]).expand(8, 3), atol=0.02, rtol=0)
    assert pictures.covered[:, 32, 32].all()
    assert not pictures.covered[:, 0].any()
    # Grey in light from the camera: 18 pixels beside the middle the surface has turned by 40 degrees.
    grey = pictures.grey
    assert grey[0, 0, 32, 32] == pytest.approx(measures.GREY, abs=0.03)
    assert grey[0, 0, 32, 14] == pytest.approx(measures.GREY * (0.5 + 0.5 * math.cos(math.radians(40))), abs=0.02)
    solid = measures.solid(Ball(0.8), device)
    assert solid is not None
    # Cells that the ball reaches: all in it, and at most those whose middles are less than a diagonal outside.
    least, most = (4 / 3 * math.pi * radius**3 / 8 for radius in (0.8, 0.8 + 2 * 3**0.5 / measures._CELLS))
    assert least < solid.cells.mean() < most
    np.testing.assert_array_equal(measures.unpacked(measures.packed(solid.cells)), solid.cells)


def test_where_nothing_is_there_is_no_solid() -> None:
    assert measures.solid(Ball(-1.0), torch.device("cpu")) is None
