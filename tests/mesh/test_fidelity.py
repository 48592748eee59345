import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.fidelity import compare, f_scores, on_surface, to_field, topology
from backend.mesh.raycast import MeshRendering

CUBE = TriangleMesh(
    np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32),
    np.array(
        [
            *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
            *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
        ],
        np.int32,
    ),
)


@dataclass(frozen=True)
class Block:
    """The field that CUBE is the surface of: green all through."""

    def density(self, x: Tensor) -> Tensor:
        return 400.0 * (x.abs().amax(-1) < 0.5)

    def colour(self, x: Tensor) -> Tensor:
        return torch.tensor([0.0, 1.0, 0.0]).expand_as(x)

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(x), self.colour(x)


def painted(mesh: TriangleMesh, colour: tuple[int, int, int]) -> Asset:
    uvs = np.full((len(mesh.triangles), 3, 2), 0.5, np.float32)
    return Asset(mesh, uvs, np.full((4, 4, 3), colour, np.uint8), shaded(mesh, "auto"))


def pictures(colour: torch.Tensor, opacity: torch.Tensor) -> MeshRendering:
    return MeshRendering(colour, opacity, depth=opacity, normals=colour)


def square(at: float = 0.0, height: float = 0.0) -> TriangleMesh:
    """A unit square from x = `at`, parallel to the ground."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32) + np.float32([at, 0, height])
    return TriangleMesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def joined(*meshes: TriangleMesh) -> TriangleMesh:
    offsets = np.cumsum([0, *(len(each.vertices) for each in meshes)])
    return TriangleMesh(
        np.concatenate([each.vertices for each in meshes]),
        np.concatenate([each.triangles + offset for each, offset in zip(meshes, offsets[:-1], strict=True)]).astype(
            np.int32
        ),
    )


def test_psnr_counts_the_pixels_that_either_shows_and_no_others() -> None:
    opacity = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    ours = pictures(torch.full((1, 3, 1, 4), 0.4) * opacity, opacity)
    shifted = torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])
    theirs = pictures(torch.full((1, 3, 1, 4), 0.7) * shifted, shifted)
    found = compare(theirs, ours)
    # Over grey 1/2: one pixel differs by 0.3, one by 0.1, one by 0.2; the fourth is nobody's.
    assert found.psnr == pytest.approx(-10 * math.log10((0.09 + 0.01 + 0.04) / 3), abs=1e-4)
    assert found.silhouette_iou == pytest.approx(1 / 3)


@pytest.mark.usefixtures("small_pictures")
def test_a_mesh_is_compared_with_the_field_it_was_made_from() -> None:
    same, discoloured = (
        to_field(painted(CUBE, colour), Block(), torch.device("cpu")) for colour in ((0, 255, 0), (0, 0, 0))
    )
    assert same.silhouette_iou > 0.95
    assert discoloured.silhouette_iou == same.silhouette_iou
    assert same.psnr > discoloured.psnr + 10
    half = TriangleMesh(CUBE.vertices * np.float32(0.5), CUBE.triangles)
    assert to_field(painted(half, (0, 255, 0)), Block(), torch.device("cpu")).silhouette_iou < 0.4


def test_soft_pixels_belong_to_the_outline_from_one_half_on() -> None:
    opacity = torch.tensor([[[0.5, 0.49, 1.0]]])
    found = compare(pictures(torch.zeros(1, 3, 1, 3), opacity), pictures(torch.zeros(1, 3, 1, 3), opacity.round()))
    # 0.5 rounds to 0: one of two pixels agrees, and the other differs by half the background.
    assert found.silhouette_iou == 0.5
    assert found.psnr == pytest.approx(-10 * math.log10(0.25**2 / 2), abs=1e-4)


def test_equal_pictures_are_infinitely_alike_and_empty_ones_not_at_all() -> None:
    opacity = torch.ones(2, 4, 4)
    colour = torch.full((2, 3, 4, 4), 0.3)
    same = compare(pictures(colour, opacity), pictures(colour, opacity))
    assert (same.psnr, same.silhouette_iou) == (math.inf, 1.0)
    empty = compare(pictures(0 * colour, 0 * opacity), pictures(0 * colour, 0 * opacity))
    assert math.isnan(empty.psnr)
    assert empty.silhouette_iou == 0


def test_a_cube_is_closed_and_one_piece_also_with_split_vertices() -> None:
    split = TriangleMesh(CUBE.vertices[CUBE.triangles].reshape(-1, 3), np.arange(36, dtype=np.int32).reshape(-1, 3))
    for each in (CUBE, split):
        found = topology(each)
        assert (found.faces, found.watertight, found.components, found.degenerate) == (12, True, 1, 0)


@pytest.mark.parametrize(
    "triangles",
    [
        CUBE.triangles[1:],
        np.concatenate([CUBE.triangles[:1, ::-1], CUBE.triangles[1:]]),
        np.concatenate([CUBE.triangles, CUBE.triangles[:1]]),
        np.concatenate([CUBE.triangles, CUBE.triangles[:1], CUBE.triangles[:1, ::-1]]),
    ],
    ids=["a hole", "a face turned over", "a face twice", "a flap"],
)
def test_a_cube_with_a_fault_is_not_watertight(triangles: np.ndarray) -> None:
    assert not topology(TriangleMesh(CUBE.vertices, np.ascontiguousarray(triangles))).watertight


def test_pieces_and_faces_without_area_are_counted() -> None:
    away = TriangleMesh(CUBE.vertices + np.float32(3), CUBE.triangles)
    unused = TriangleMesh(np.concatenate([CUBE.vertices, [[9, 9, 9]]]).astype(np.float32), CUBE.triangles)
    assert topology(joined(CUBE, away)).components == 2
    assert topology(unused).components == 1
    line = TriangleMesh(CUBE.vertices, np.concatenate([CUBE.triangles, [[0, 1, 1]]]).astype(np.int32))
    assert topology(line).degenerate == 1


def test_surfaces_within_the_threshold_score_one_and_others_nothing(generator: torch.Generator) -> None:
    wide, narrow = f_scores(square(height=0.05), square(), (0.07, 0.049), generator)
    assert wide == pytest.approx(1, abs=0.01)
    assert narrow == 0


def test_what_is_missing_costs_recall_and_what_is_invented_precision(generator: torch.Generator) -> None:
    half, whole = square(), joined(square(), square(at=5.0))
    # precision 1, recall 1/2: harmonic mean 2/3; and the other way round.
    assert f_scores(half, whole, (0.03,), generator) == pytest.approx((2 / 3,), abs=0.01)
    assert f_scores(whole, half, (0.03,), generator) == pytest.approx((2 / 3,), abs=0.01)


def test_points_spread_evenly_over_the_area(generator: torch.Generator) -> None:
    wide = TriangleMesh(square().vertices * np.float32([3, 1, 1]) + np.float32([2, 0, 0]), square().triangles)
    points = on_surface(joined(square(), wide), 40_000, generator)
    # Three of four square metres are the wide one's; standard error 0.002.
    assert (points[:, 0] >= 2).mean() == pytest.approx(0.75, abs=0.01)
    inside = points[points[:, 0] < 1]
    counts, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], bins=3, range=[[0, 1], [0, 1]])
    np.testing.assert_allclose(counts / len(inside), 1 / 9, atol=0.012)
    assert (points[:, 2] == 0).all()
