from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from backend.errors import UserError
from backend.mesh import clean as cleaning
from backend.mesh.asset import SMALLEST_AREA, TriangleMesh
from backend.mesh.clean import clean, closed, components, decimated, grounded, repaired, significant
from backend.mesh.slivers import SLENDEREST, slenderness
from backend.mesh.surface import extract

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)


def mesh_of(vertices: object, triangles: object) -> TriangleMesh:
    return TriangleMesh(np.array(vertices, np.float32), np.array(triangles, np.int32))


def together(*meshes: TriangleMesh) -> TriangleMesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return TriangleMesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]).astype(np.int32),
    )


def ball(radius: float) -> TriangleMesh:
    axis = np.linspace(-1, 1, 40)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    distance = np.linalg.norm(points, axis=-1) - radius
    return extract((10 * np.exp(-20 * distance)).clip(0, 1e6).astype(np.float32), 10.0)


def densities(distance: np.ndarray) -> np.ndarray:
    """A density that is 10 where the distance is 0, and grows inwards."""
    return (10 * np.exp(-20 * distance)).clip(0, 1e6).astype(np.float32)


def grid(samples: int) -> list[np.ndarray]:
    """x, y and z of the grid of so many samples per axis over [-1, 1]^3."""
    axis = np.linspace(-1, 1, samples)
    return np.meshgrid(axis, axis, axis, indexing="ij")


def grown(x: np.ndarray, y: np.ndarray, z: np.ndarray, seed: int) -> np.ndarray:
    """A density such as an optimisation leaves: a ball with bumps of all sizes, down to the grid's own."""
    rng = np.random.default_rng(seed)
    bumps = sum(size * gaussian_filter(rng.standard_normal(x.shape), size) for size in (1.5, 3.0, 6.0))
    return densities(np.sqrt(x * x + y * y + z * z) - 0.6 + 0.06 * bumps / bumps.std())


def flipped(mesh: TriangleMesh) -> TriangleMesh:
    return TriangleMesh(mesh.vertices, np.ascontiguousarray(mesh.triangles[:, ::-1]))


def volume(mesh: TriangleMesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(np.float64), 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)


def areas(mesh: TriangleMesh) -> np.ndarray:
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(np.float64), 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2


def faults(mesh: TriangleMesh) -> list[str]:
    """What keeps the mesh, its vertices welded by position, from being a clean solid; by brute force."""
    positions = [tuple(p) for p in mesh.vertices.tolist()]
    triangles = [[positions[i] for i in triangle] for triangle in mesh.triangles.tolist()]
    sides = Counter((t[i], t[(i + 1) % 3]) for t in triangles for i in range(3))
    found = []
    if any(count != 1 or (b, a) not in sides for (a, b), count in sides.items()):
        found.append("an edge has not two faces that run opposite ways")
    if any(len(set(t)) < 3 for t in triangles) or areas(mesh).min() < SMALLEST_AREA:
        found.append("a face is degenerate")
    if len(set(positions)) != len(positions) or set(np.unique(mesh.triangles)) != set(range(len(positions))):
        found.append("a vertex is double or unused")
    if volume(mesh) <= 0:
        found.append("it is inside out")
    return found


def test_faults_are_found_where_there_are_some() -> None:
    good = mesh_of(CORNERS, TETRAHEDRON)
    assert faults(good) == []
    assert faults(flipped(good)) == ["it is inside out"]
    assert faults(mesh_of(CORNERS, TETRAHEDRON[1:])) == ["an edge has not two faces that run opposite ways"]
    assert "a vertex is double or unused" in faults(mesh_of([*CORNERS, [5, 5, 5]], TETRAHEDRON))


def test_a_ball_stays_a_ball_within_the_budget() -> None:
    result = clean(ball(0.7), 800)
    assert len(result.triangles) <= 800
    assert faults(result) == []
    radii = np.linalg.norm(result.vertices, axis=-1)
    assert abs(radii - 0.7).max() < 0.01
    assert volume(result) == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.02)


def test_a_mesh_within_the_budget_is_left_as_it_is() -> None:
    mesh = mesh_of(CORNERS, TETRAHEDRON)
    assert decimated(mesh, 4) is mesh


@pytest.mark.parametrize("faces", [60, 300])
def test_flat_lids_full_of_slivers_come_down_to_the_budget(faces: int) -> None:
    # Collapses alone get stuck at some hundreds of faces on the lids of such a cylinder.
    axis = np.linspace(-1, 1, 96)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.maximum(np.hypot(x, y) - 0.5, np.abs(z) - 0.6)
    result = clean(extract((10 * np.exp(-20 * distance)).astype(np.float32), 10.0), faces)
    assert len(result.triangles) <= faces
    assert faults(result) == []
    assert volume(result) == pytest.approx(np.pi * 0.5**2 * 1.2, rel=0.05)


SOLIDS = {
    "ball": lambda x, y, z: densities(np.sqrt(x * x + y * y + z * z) - 0.7),
    "box": lambda x, y, z: densities(abs(np.stack([x, y * 1.3, z * 1.5])).max(axis=0) - x[60, 0, 0]),  # on samples in x
    "ring": lambda x, y, z: densities(np.hypot(np.hypot(x, y) - 0.6, z) - 0.2),
    **{f"grown {seed}": lambda x, y, z, seed=seed: grown(x, y, z, seed) for seed in range(3)},
}


@pytest.mark.parametrize("faces", [5000, 12_000])
@pytest.mark.parametrize("solid", SOLIDS)
def test_hardly_any_sliver_is_left_and_none_is_much_of_one(solid: str, faces: int) -> None:
    mesh = extract(SOLIDS[solid](*grid(72)), 10.0)
    result = clean(mesh, faces)
    assert faults(result) == []
    slender = slenderness(result.vertices[result.triangles].astype(np.float64))
    assert (slender > SLENDEREST).mean() < 1e-3
    assert slender.max() < 1.5 * SLENDEREST
    assert volume(result) == pytest.approx(volume(mesh), rel=5e-3)


def test_what_is_thin_on_purpose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # With so few faces the box's bevels are as long as its sides, and narrower than a twentieth of that.
    mesh = extract(SOLIDS["box"](*grid(72)), 10.0)
    result = clean(mesh, 800)
    monkeypatch.setattr(cleaning, "without_slivers", lambda mesh: mesh)
    assert volume(result) == pytest.approx(volume(clean(mesh, 800)), rel=2e-3)


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(UserError, match="--faces"):
        clean(flipped(ball(0.5)), 1000)


def test_specks_go_and_separate_parts_of_some_size_stay() -> None:
    # Areas go with the square: a ball of a tenth of the radius has 1 %.
    one = ball(0.5)
    other = TriangleMesh(one.vertices * np.float32(0.11) + np.float32([0.8, 0, 0]), one.triangles)
    speck = TriangleMesh(one.vertices * np.float32(0.09) + np.float32([0, 0.8, 0]), one.triangles)
    kept = significant(together(speck, one, other))
    assert components(kept)[0] == 2
    assert len(kept.triangles) == len(one.triangles) + len(other.triangles)
    assert len(kept.vertices) == len(one.vertices) + len(other.vertices)


@pytest.mark.parametrize(
    ("radius", "gap", "stays"), [(0.06, 0.05, True), (0.06, 0.1, False), (0.11, 0.1, False), (0.15, 0.3, True)]
)
def test_small_parts_that_float_go_and_those_beside_others_stay(radius: float, gap: float, stays: bool) -> None:
    one, small = ball(0.5), ball(0.5)
    beside = TriangleMesh(
        (small.vertices * radius / 0.5 + [0.5 + gap + radius, 0, 0]).astype(np.float32), small.triangles
    )
    far = TriangleMesh((small.vertices * 0.6 - [2, 0, 0]).astype(np.float32), small.triangles)
    kept = grounded(together(beside, one, far))
    assert components(kept)[0] == (3 if stays else 2), "a large one stays anywhere"
    assert len(kept.vertices) == len(one.vertices) * (3 if stays else 2)
    assert grounded(one) is one


def test_what_nobody_can_see_goes() -> None:
    shell = ball(0.8)
    cavity, inner = flipped(ball(0.6)), ball(0.4)
    kept = significant(together(inner, cavity, shell))
    np.testing.assert_array_equal(kept.vertices, shell.vertices)
    np.testing.assert_array_equal(kept.triangles, shell.triangles)


def test_a_part_in_the_hole_of_a_ring_is_not_inside_of_it() -> None:
    axis = np.linspace(-1, 1, 48)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ring = np.hypot(np.hypot(x, y) - 0.6, z) - 0.2
    density = (10 * np.exp(-20 * np.minimum(ring, np.sqrt(x * x + y * y + z * z) - 0.2))).astype(np.float32)
    assert components(clean(extract(density, 10.0), 2000))[0] == 2


def test_holes_are_closed_each_by_a_cone_to_its_middle() -> None:
    whole = ball(0.7)
    top = whole.vertices[whole.triangles].mean(1)[:, 2] > 0.6
    side = whole.vertices[whole.triangles].mean(1)[:, 0] > 0.6
    holed = TriangleMesh(whole.vertices, whole.triangles[~top & ~side])
    mended = closed(holed)
    assert len(mended.vertices) == len(holed.vertices) + 2
    np.testing.assert_allclose(mended.vertices[-2:].mean(0), [0.3, 0, 0.3], atol=0.02)
    assert faults(clean(holed, 5000)) == []
    assert closed(whole) is whole


def test_flaps_vanish() -> None:
    # A tetrahedron with a face of three extra vertices that runs there and back.
    vertices = [*CORNERS, [2, 0, 0], [2, 1, 0], [2, 0, 1]]
    mesh = repaired(mesh_of(vertices, [*TETRAHEDRON, [4, 5, 6], [4, 6, 5]]))
    assert len(mesh.triangles) == 4
    assert faults(mesh) == []


def test_solids_that_share_an_edge_are_taken_apart() -> None:
    # Two tetrahedra that meet in the edge from (0, 0, 0) to (0, 0, 1).
    both = mesh_of([*CORNERS, [-1, 0, 0], [0, -1, 0]], [*TETRAHEDRON, *np.array([0, 4, 5, 3])[TETRAHEDRON]])
    assert faults(both) == ["an edge has not two faces that run opposite ways"]
    parted = repaired(both)
    assert faults(parted) == []
    assert components(parted)[0] == 2
    assert np.abs(parted.vertices).max() == 1
    assert volume(parted) == pytest.approx(2 / 6, rel=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_pinched_solids_are_parted(seed: int) -> None:
    # Random blocks with near vertices drawn together: some edges come apart by the one pairing, some by the other.
    rng = np.random.default_rng(seed)
    solid = extract(np.pad((rng.random((9, 9, 9)) > 0.5).astype(np.float32), 1), 0.5)
    _, cluster = np.unique(np.round(solid.vertices * 2.5), axis=0, return_inverse=True)
    places = np.array([solid.vertices[cluster.reshape(-1) == i].mean(0) for i in range(cluster.max() + 1)])
    pinched = mesh_of(places, cluster.reshape(-1)[solid.triangles])
    assert faults(pinched) != []
    assert [fault for fault in faults(repaired(pinched)) if "inside out" not in fault] == []


def test_sheets_that_meet_in_a_vertex_are_taken_apart() -> None:
    mirrored = np.array([0, 4, 5, 6])[TETRAHEDRON[:, ::-1]]
    parted = repaired(mesh_of([*CORNERS, [-1, 0, 0], [0, -1, 0], [0, 0, -1]], [*TETRAHEDRON, *mirrored]))
    assert len(parted.vertices) == 8
    assert faults(parted) == []


def test_slivers_are_drawn_together() -> None:
    # The edge from corner 0 to corner 1 has another vertex, right beside corner 0.
    vertices = [*CORNERS, [1e-10, 0, 0]]
    mesh = repaired(mesh_of(vertices, [[4, 2, 1], [0, 2, 4], [4, 1, 3], [0, 4, 3], [1, 2, 3], [0, 3, 2]]))
    assert len(mesh.triangles) == 4
    assert faults(mesh) == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("faces", [200, 2000])
def test_random_solids_come_out_clean(seed: int, faces: int) -> None:
    # Noise has every configuration of marching cubes, thin bridges and cavities.
    rng = np.random.default_rng(seed)
    density = np.zeros((14, 14, 14), np.float32)
    density[1:-1, 1:-1, 1:-1] = rng.random((12, 12, 12)) if seed % 2 else rng.random((12, 12, 12)) > 0.5
    result = clean(extract(density, 0.45), faces)
    assert faults(result) == []
    assert 4 <= len(result.triangles) <= faces


def test_the_repair_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    density = np.pad(rng.random((20, 20, 20)), 1).astype(np.float32)
    monkeypatch.setattr(cleaning, "repaired", lambda mesh: mesh)
    assert faults(clean(extract(density, 0.45), 2000)) != []
