import numpy as np
import pytest
import trimesh
from scipy.ndimage import gaussian_filter

from backend.mesh import clean as cleaning
from backend.mesh.asset import TriangleMesh
from backend.mesh.charts import unwrapped
from backend.mesh.clean import FEW, _clustered, clean
from backend.mesh.creases import opposite
from backend.mesh.marching import marching_cubes
from backend.mesh.planes import flattened

X, Y, Z = np.meshgrid(*[np.linspace(-1, 1, 64)] * 3, indexing="ij")


def of(solid: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.int32))


def wavy(mesh: TriangleMesh, height: float) -> TriangleMesh:
    """The mesh with waves of this height, 0.15 m wide."""
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, 3)
    waves = np.sin(42 * mesh.vertices[:, [1, 2, 0]] + phases) * height
    return TriangleMesh((mesh.vertices + waves).astype(np.float32), mesh.triangles)


def box_distance(middle: tuple[float, float, float], half: tuple[float, float, float]) -> np.ndarray:
    """Of the grid's points from a box, negative inside."""
    beyond = np.stack([abs(axis - at) - size for axis, at, size in zip((X, Y, Z), middle, half, strict=True)])
    return np.linalg.norm(beyond.clip(min=0), axis=0) + beyond.max(axis=0).clip(max=0)


def noisy_surface(distance: np.ndarray) -> TriangleMesh:
    """Of something soft and noisy, as optimised fields are, with rounded edges."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=distance.shape), 2)
    away = gaussian_filter(distance, 1) + 0.012 * noise / noise.std()
    vertices, triangles = marching_cubes(-away)
    return TriangleMesh((vertices / 31.5 - 1).astype(np.float32), triangles.astype(np.int32))


def solid_of(mesh: TriangleMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)


def off_axes(mesh: TriangleMesh) -> float:
    """Degrees by which normals differ from the nearest axis, in the mean over the surface."""
    solid = solid_of(mesh)
    degrees = np.degrees(np.arccos(np.abs(solid.face_normals).max(axis=1).clip(max=1)))
    return float(np.average(degrees, weights=solid.area_faces))


CUBE = noisy_surface(box_distance((0, 0, 0), (0.55, 0.55, 0.55)))
TABLE = noisy_surface(
    np.minimum.reduce(
        [
            box_distance((0, 0, 0.4), (0.7, 0.5, 0.08)),
            *(box_distance((x, y, -0.15), (0.08, 0.08, 0.5)) for x in (-0.6, 0.6) for y in (-0.4, 0.4)),
        ]
    )
)


@pytest.mark.parametrize("faces", [500, 1000, FEW])
def test_the_sides_of_a_noisy_cube_are_flat_within_a_low_budget(faces: int) -> None:
    assert off_axes(CUBE) > 11
    result = clean(CUBE, faces)
    assert off_axes(result) < 5
    assert solid_of(result).is_volume
    assert len(result.triangles) <= faces


def test_a_table_keeps_its_legs_and_gets_flat_sides() -> None:
    result = clean(TABLE, 500)
    assert solid_of(result).is_volume
    assert solid_of(result).body_count == 1
    assert off_axes(result) < 0.6 * off_axes(TABLE)
    legs = solid_of(result).section([0, 0, 1], [0, 0, -0.4])
    assert legs is not None
    assert len(legs.entities) == 4


def test_flat_sides_come_down_to_the_budget_by_collapses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Slivers on flat sides block collapses: near vertices would be drawn together everywhere, and thin parts be lost.
    joined: list[float] = []
    monkeypatch.setattr(cleaning, "_clustered", lambda mesh, cell: joined.append(cell) or _clustered(mesh, cell))
    assert len(clean(CUBE, 500).triangles) <= 500
    assert joined == []


def test_islands_of_the_texture_are_the_flat_sides() -> None:
    mesh = clean(CUBE, 500)
    uvs = unwrapped(mesh.vertices, mesh.triangles, np.zeros(len(mesh.triangles), np.int64), 512, 3)
    beyond = opposite(mesh.triangles)
    other, corner = np.divmod(beyond, 3)
    torn = np.abs(uvs - uvs[other, (corner + 1) % 3]).max(axis=-1) > 1e-6
    normals = solid_of(mesh).face_normals
    turned = (normals[:, None] * normals[other]).sum(axis=-1) < 0.5
    assert torn[turned].mean() > 0.95
    assert torn[~turned].mean() < 0.05


def test_a_ball_is_left_as_it_is() -> None:
    for ball in (of(trimesh.creation.icosphere(5, radius=0.8)), wavy(of(trimesh.creation.icosphere(5, 0.8)), 0.005)):
        np.testing.assert_array_equal(flattened(ball).vertices, ball.vertices)


def test_no_band_of_a_ring_is_taken_for_flat() -> None:
    smooth = trimesh.creation.torus(0.6, 0.2, 96, 48)
    noisy = noisy_surface(np.hypot(np.hypot(X, Y) - 0.6, Z) - 0.2)
    for ring in (of(smooth), wavy(of(smooth), 0.005), noisy):
        np.testing.assert_array_equal(flattened(ring).vertices, ring.vertices)


def test_the_lids_of_a_cylinder_are_made_flat_and_its_wall_stays_round() -> None:
    smooth = trimesh.creation.cylinder(radius=0.5, height=1, sections=64).subdivide_to_size(0.1)
    mesh = wavy(of(smooth), 0.006)
    result = flattened(mesh)
    inner = np.hypot(*smooth.vertices[:, :2].T) < 0.4
    wall = np.abs(smooth.vertices[:, 2]) < 0.35
    upper = inner & (smooth.vertices[:, 2] > 0)
    assert np.ptp(mesh.vertices[upper, 2]) > 0.01
    assert np.ptp(result.vertices[upper, 2]) < 0.003
    np.testing.assert_array_equal(result.vertices[wall], mesh.vertices[wall])


def test_edges_and_corners_are_where_planes_meet() -> None:
    rounded = trimesh.creation.icosphere(5).vertices
    rounded = rounded / np.linalg.norm(rounded, ord=12, axis=1, keepdims=True) * 0.5
    solid = trimesh.convex.convex_hull(rounded)
    assert np.linalg.norm(solid.vertices, axis=1).max() < 0.81
    result = flattened(of(solid))
    corner = np.linalg.norm(result.vertices, axis=1).max()
    assert corner == pytest.approx(0.5 * np.sqrt(3), abs=0.02)


def test_what_has_hardly_any_face_or_none_is_left_alone() -> None:
    coarse = of(trimesh.creation.icosphere(0))
    np.testing.assert_array_equal(flattened(coarse).vertices, coarse.vertices)
    nothing = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert flattened(nothing) is nothing
