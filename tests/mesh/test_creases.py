import numpy as np
import pytest
import trimesh

from backend.mesh.asset import TriangleMesh
from backend.mesh.creases import BETWEEN_FLAT, shaded


def of(solid: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.int32))


def face_normals(mesh: TriangleMesh) -> np.ndarray:
    return np.asarray(trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).face_normals)


def roof(degrees: float) -> TriangleMesh:
    """A prism, long along y, whose two upper sides meet at this angle between their normals."""
    low, high = -0.5, -0.5 + np.tan(np.radians(degrees / 2))
    profile = [(-1, low), (1, low), (0, high)]
    return of(trimesh.convex.convex_hull([(x, y, z) for x, z in profile for y in (-2, 2)]))


BALL = of(trimesh.creation.icosphere(subdivisions=1, radius=0.7))
"""80 faces, which meet at angles of some 18 degrees."""


def test_flat_shading_has_the_normals_of_the_faces() -> None:
    for mesh in (BALL, of(trimesh.creation.box())):
        np.testing.assert_allclose(shaded(mesh, "flat"), face_normals(mesh)[:, None].repeat(3, axis=1), atol=1e-6)


def test_smooth_shading_has_one_normal_at_each_vertex() -> None:
    box = of(trimesh.creation.box())
    normals = shaded(box, "smooth")
    for vertex in range(8):
        found = normals[box.triangles == vertex]
        np.testing.assert_array_equal(found, found[:1].repeat(len(found), axis=0))
        np.testing.assert_allclose(found[0], box.vertices[vertex] / np.linalg.norm(box.vertices[vertex]), atol=1e-6)


def test_normals_weigh_by_angles_so_that_the_way_a_side_is_cut_into_triangles_makes_no_difference() -> None:
    box = trimesh.creation.box()
    finer = of(box.subdivide_to_size(0.4))
    np.testing.assert_allclose(
        np.unique(np.abs(shaded(finer, "smooth")[np.isin(finer.triangles, corners_of(finer))]).round(5)),
        [np.round(1 / np.sqrt(3), 5)],
    )


def corners_of(mesh: TriangleMesh) -> np.ndarray:
    return np.flatnonzero((np.abs(mesh.vertices) == 0.5).all(axis=1))


def test_the_sides_of_a_box_are_apart_and_a_ball_of_few_faces_is_round() -> None:
    box = of(trimesh.creation.box().subdivide())
    np.testing.assert_allclose(shaded(box, "auto"), shaded(box, "flat"), atol=1e-6)
    np.testing.assert_array_equal(shaded(BALL, "auto"), shaded(BALL, "smooth"))
    radial = BALL.vertices[BALL.triangles] / 0.7
    assert (shaded(BALL, "auto") * radial).sum(-1).min() > 0.999


@pytest.mark.parametrize(("degrees", "apart"), [(BETWEEN_FLAT - 2, False), (BETWEEN_FLAT + 2, True)])
def test_flat_sides_are_apart_even_where_they_turn_little(degrees: float, apart: bool) -> None:
    mesh = roof(degrees)
    up = face_normals(mesh)[:, 2] > 0.5
    same = np.allclose(shaded(mesh, "auto")[up], face_normals(mesh)[up][:, None], atol=1e-4)
    assert same == apart


def test_the_lid_of_a_cylinder_is_apart_from_its_wall_which_is_round() -> None:
    mesh = of(trimesh.creation.cylinder(radius=0.5, height=1, sections=16))
    normals, lid = shaded(mesh, "auto"), np.abs(face_normals(mesh)[:, 2]) > 0.9
    np.testing.assert_allclose(np.abs(normals[lid]), np.array([0, 0, 1]) * np.ones((lid.sum(), 3, 1)), atol=1e-6)
    np.testing.assert_allclose(normals[~lid][..., 2], 0, atol=1e-6)
    radial = mesh.vertices[mesh.triangles[~lid]][..., :2] / 0.5
    assert (normals[~lid][..., :2] * radial).sum(-1).min() > 0.99


def test_a_finely_divided_round_surface_is_no_flat_side() -> None:
    # Its faces turn by less than what counts as flat from one to the next, but meet a cut at 45 degrees.
    points = trimesh.creation.icosphere(subdivisions=5).vertices.copy()
    points[:, 2] = points[:, 2].clip(max=0.7)
    cut = of(trimesh.convex.convex_hull(points))
    lid = np.abs(face_normals(cut)[:, 2]) > 0.9999
    assert lid.sum() > 3
    rounded = ~lid & ~np.isin(cut.triangles, np.unique(cut.triangles[lid])).any(axis=1)
    np.testing.assert_array_equal(shaded(cut, "auto")[rounded], shaded(cut, "smooth")[rounded])


def test_faces_without_area_and_lone_faces_do_no_harm() -> None:
    mesh = TriangleMesh(np.eye(4, 3, dtype=np.float32), np.array([[0, 1, 2], [2, 2, 3]], np.int32))
    for shading in ("auto", "smooth", "flat"):
        normals = shaded(mesh, shading)
        assert np.isfinite(normals).all()
        np.testing.assert_allclose(normals[0], np.full((3, 3), 3**-0.5), atol=1e-6)
