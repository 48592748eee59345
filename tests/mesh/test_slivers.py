import numpy as np
import pytest

from backend.mesh.asset import TriangleMesh
from backend.mesh.slivers import SLENDEREST, slenderness, without_slivers

TETRAHEDRON = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]


def mesh_of(vertices: object, triangles: object) -> TriangleMesh:
    return TriangleMesh(np.array(vertices, np.float32), np.array(triangles, np.int32))


def worst(mesh: TriangleMesh) -> float:
    return float(slenderness(mesh.vertices[mesh.triangles].astype(np.float64)).max())


def volume(mesh: TriangleMesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(np.float64), 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)


def is_closed(mesh: TriangleMesh) -> bool:
    """Whether every side of a triangle is walked once, and once the other way by another."""
    sides = [(t[i], t[(i + 1) % 3]) for t in mesh.triangles.tolist() for i in range(3)]
    return len(set(sides)) == len(sides) and {(b, a) for a, b in sides} == set(sides)


def pyramid(extra: tuple[float, float, float], faces: list[list[int]], low: float = 0.0) -> TriangleMesh:
    """A pyramid over the unit square, whose corner 3 lies `low`, with another vertex, number 5, and its faces."""
    square = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, -low]]
    return mesh_of([*square, [0.5, 0.5, 1], extra], [[1, 2, 4], [2, 3, 4], [3, 0, 4], *faces])


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]], 2 / np.sqrt(3)),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], 2),
        ([[0, 0, 0], [0, 0.01, 0], [1, 0, 0]], 100),
        ([[0, 0, 0], [0.5, 0.01, 0], [1, 0, 0]], 100),
        ([[0, 0, 0], [0, 1e-6, 0], [1e-6, 0, 0]], np.inf),
        ([[0, 0, 0], [0.5, 0, 0], [1, 0, 0]], np.inf),
    ],
)
def test_slenderness_is_the_longest_side_over_the_height_above_it(corners: object, expected: float) -> None:
    for turned in range(3):
        found = slenderness(np.roll(np.array([corners], np.float64), turned, axis=1))
        assert found[0] == pytest.approx(expected, rel=1e-3)


def test_a_needle_goes_with_its_short_side() -> None:
    # Number 5 is 1 mm beside corner 0, on the rim.
    needles = pyramid((1e-3, 0, 0), [[0, 5, 4], [5, 1, 4], [3, 5, 0], [3, 2, 5], [2, 1, 5]])
    assert (is_closed(needles), worst(needles) > 500) == (True, True)
    mended = without_slivers(needles)
    assert (is_closed(mended), worst(mended) < 3) == (True, True)
    assert len(mended.triangles) == len(needles.triangles) - 2
    assert volume(mended) == pytest.approx(1 / 3, rel=2e-3)


def test_a_cap_is_turned_and_no_vertex_is_lost() -> None:
    # Number 5 lies on the base, 1 mm from the middle of the side from 0 to 1; the base is bent there.
    cap = pyramid((0.5, 1e-3, 0), [[0, 1, 4], [0, 5, 1], [3, 5, 0], [3, 2, 5], [2, 1, 5]], low=0.5)
    assert (is_closed(cap), worst(cap)) == (True, pytest.approx(1000, rel=1e-3))
    mended = without_slivers(cap)
    assert (is_closed(mended), worst(mended) < 5) == (True, True)
    assert len(mended.triangles) == len(cap.triangles)
    assert set(mended.triangles.ravel()) == set(range(6))
    assert volume(mended) == pytest.approx(volume(cap), rel=2e-3)


def test_a_fan_of_needles_goes_from_the_worst_on() -> None:
    # Along one side of a wedge lie twenty vertices a millimetre apart.
    steps = 20
    row = [[0.001 * i, 0, 0] for i in range(steps + 1)]
    left, right, below, end = range(steps + 1, steps + 5)
    far = [[0, 1, 0.5], [0, -1, 0.5], [0, 0, -1], [1, 0, 0]]
    sides = [face for i in range(steps) for face in ([i, i + 1, left], [i + 1, i, right])]
    ends = [[steps, end, left], [end, steps, right], [left, end, below], [end, right, below]]
    back = [[0, left, below], [right, 0, below]]
    fan = mesh_of([*row, *far], [*sides, *ends, *back])
    assert (is_closed(fan), worst(fan) > 500) == (True, True)
    mended = without_slivers(fan)
    assert (is_closed(mended), worst(mended) <= SLENDEREST) == (True, True)
    assert volume(mended) == pytest.approx(volume(fan), rel=0.05)


@pytest.mark.parametrize("height", [1.0, 1e-3])
def test_a_tetrahedron_stays_however_thin(height: float) -> None:
    thin = mesh_of([[0, 0, 0], [1, 0, 0], [0, 0.01, 0], [0, 0, height]], TETRAHEDRON)
    assert worst(thin) > SLENDEREST
    np.testing.assert_array_equal(np.sort(without_slivers(thin).triangles, axis=0), np.sort(thin.triangles, axis=0))


def test_a_waist_of_three_sides_is_not_cut() -> None:
    # Two tetrahedra joined at a triangle with one short side: drawn together, they would hang by an edge.
    waist = [[0, 0, 0], [1e-3, 0, 0], [0, 1, 0]]
    joined = mesh_of(
        [*waist, [0.3, 0.3, 1], [0.3, 0.3, -1]],
        [[0, 1, 3], [1, 2, 3], [2, 0, 3], [1, 0, 4], [2, 1, 4], [0, 2, 4]],
    )
    assert (is_closed(joined), worst(joined) > SLENDEREST) == (True, True)
    assert is_closed(without_slivers(joined))


def test_edges_with_four_faces_are_left_alone() -> None:
    # Two needles of a tetrahedron each, that share the short side.
    points = [[0, 0, 0], [1e-3, 0, 0], [0, 1, 0], [0, 0.5, 1], [0, -1, 0], [0, -0.5, -1]]
    both = mesh_of(points, [*TETRAHEDRON, *np.array([0, 1, 4, 5])[np.array(TETRAHEDRON)]])
    left = without_slivers(both)
    assert len(left.triangles) == len(both.triangles)


def test_nothing_comes_of_nothing() -> None:
    assert without_slivers(mesh_of(np.zeros((0, 3)), np.zeros((0, 3)))).triangles.shape == (0, 3)
