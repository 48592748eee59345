"""Both ways to march through cubes."""

import numpy as np
import pytest
import trimesh

from backend.mesh.marching import PACKAGE, marching_cubes

G = 40


@pytest.mark.parametrize("package", ["PyMCubes", "scikit-image"])
def test_a_dented_ball_is_closed_and_faces_outwards(package: str) -> None:
    x, y, z = np.mgrid[-1 : 1 : G * 1j, -1 : 1 : G * 1j, -1 : 1 : G * 1j]
    inside = 0.7 - np.sqrt(x**2 + y**2 + z**2) + 0.05 * np.sin(9 * x)
    vertices, triangles = marching_cubes(inside, package)
    mesh = trimesh.Trimesh(vertices * 2 / (G - 1) - 1, triangles, process=False)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    samples = (inside > 0).sum() * (2 / (G - 1)) ** 3
    assert mesh.volume == pytest.approx(samples, rel=0.02)  # and positive: outwards
    place = mesh.vertices
    exact = 0.7 - np.linalg.norm(place, axis=1) + 0.05 * np.sin(9 * place[:, 0])
    assert np.abs(exact).max() < 0.01


def test_both_give_about_the_same_surface() -> None:
    x, y, z = np.mgrid[-1 : 1 : G * 1j, -1 : 1 : G * 1j, -1 : 1 : G * 1j]
    inside = 0.6 - np.maximum(np.maximum(abs(x), abs(y)), abs(z)) + 0.01 * x
    meshes = [
        trimesh.Trimesh(*marching_cubes(inside, package), process=False) for package in ("PyMCubes", "scikit-image")
    ]
    assert meshes[0].volume == pytest.approx(meshes[1].volume, rel=1e-3)
    assert len(meshes[0].faces) == pytest.approx(len(meshes[1].faces), rel=0.05)


def test_pymcubes_is_taken_where_it_is() -> None:
    assert PACKAGE == "PyMCubes"
