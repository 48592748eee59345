from collections import Counter

import pytest
import torch

from backend.mesh.asset import TriangleMesh
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS, Shape

MIDDLE = torch.full((VARIATIONS,), 0.5)
BY_NAME = {shape.name: shape for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_a_mesh_is_closed_and_lies_on_the_surface(shape: Shape) -> None:
    mesh = exact_mesh(shape, MIDDLE, resolution=64)
    edges = Counter(
        (min(a, b), max(a, b)) for tri in mesh.triangles.tolist() for a, b in zip(tri, [*tri[1:], tri[0]], strict=True)
    )
    assert all(count % 2 == 0 for count in edges.values())
    vertices = torch.from_numpy(mesh.vertices)
    error = shape.distance(vertices, MIDDLE.expand(len(vertices), -1)).abs()
    # Vertices at a crease may swing from one side to the other.
    assert error.median() < 1e-4
    assert error.quantile(0.99) < 0.01


def volume(mesh: TriangleMesh) -> float:
    a, b, c = torch.from_numpy(mesh.vertices[mesh.triangles]).unbind(1)
    return (torch.linalg.cross(a, b) * c).sum().item() / 6


def test_volumes_are_the_known_ones_and_faces_point_outwards() -> None:
    sphere = exact_mesh(BY_NAME["sphere"], MIDDLE, resolution=96)
    assert volume(sphere) == pytest.approx(4 / 3 * torch.pi * 0.825**3, rel=0.005)
    donut = exact_mesh(BY_NAME["donut"], MIDDLE, resolution=96)
    assert volume(donut) == pytest.approx(2 * torch.pi**2 * 0.61 * 0.26**2, rel=0.005)
