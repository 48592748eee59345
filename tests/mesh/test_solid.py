"""Distances from solids whose distances are known, and from meshes that hardly have an inside."""

import numpy as np
import pytest
import torch
import trimesh

from backend.mesh.asset import TriangleMesh
from backend.mesh.solid import SKIN, Solid


def mesh(found: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(np.asarray(found.vertices, np.float32), np.asarray(found.faces, np.int32))


@pytest.fixture
def points(generator: torch.Generator) -> torch.Tensor:
    return 2 * torch.rand(2000, 3, generator=generator) - 1


def test_the_distance_from_a_ball_is_known(points: torch.Tensor, generator: torch.Generator) -> None:
    solid = Solid(mesh(trimesh.creation.icosphere(4, 0.6)), generator)
    distance, nearest = solid.distance(points)
    torch.testing.assert_close(distance, points.norm(dim=-1) - 0.6 - SKIN, atol=0.012, rtol=0)
    torch.testing.assert_close((solid.points[nearest] - points).norm(dim=-1), (distance + SKIN).abs())


def test_a_lost_side_does_not_turn_the_inside_out(points: torch.Tensor, generator: torch.Generator) -> None:
    ball = mesh(trimesh.creation.icosphere(3, 0.6))
    solid = Solid(TriangleMesh(ball.vertices, ball.triangles[3:]), generator)
    inside = solid.inside(points)
    deep = points.norm(dim=-1) < 0.4
    assert inside[deep].float().mean() > 0.9
    assert not inside[points.norm(dim=-1) > 0.6].any()


def test_pieces_that_meet_are_one_solid(generator: torch.Generator) -> None:
    pieces = [
        trimesh.creation.box((0.6, 0.6, 0.6), trimesh.transformations.translation_matrix((x, 0, 0))) for x in (0, 0.3)
    ]
    solid = Solid(mesh(trimesh.util.concatenate(pieces)), generator)
    assert solid.inside(torch.tensor([(0.15, 0.0, 0.0), (0.5, 0.0, 0.0), (0.7, 0.0, 0.0)])).tolist() == [
        True,
        True,
        False,
    ]


def test_a_hollow_that_is_open_is_outside(generator: torch.Generator) -> None:
    pot = trimesh.creation.annulus(0.4, 0.5, 0.8)
    solid = Solid(mesh(pot), generator)
    assert solid.inside(torch.tensor([(0.0, 0.0, 0.0), (0.45, 0.0, 0.0)])).tolist() == [False, True]


def test_a_sheet_has_a_skin(generator: torch.Generator) -> None:
    corners = np.array([(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0)], np.float32)
    solid = Solid(TriangleMesh(corners, np.array([(0, 1, 2), (0, 2, 3)], np.int32)), generator)
    distance, _ = solid.distance(torch.tensor([(0.1, 0.2, 0.0), (0.1, 0.2, 0.1)]))
    assert distance.tolist() == pytest.approx([-SKIN, 0.1 - SKIN], abs=0.004)
