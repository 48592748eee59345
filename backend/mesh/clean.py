"""Cleaning: a closed, manifold mesh of what matters, within a face budget.

Marching cubes and edge collapses leave a surface that encloses a volume (every edge is walked as
often one way as the other) but may touch itself: edges with four faces, two sheets that meet in one
vertex, pairs of faces back to back. The repair here takes such places apart and moves nothing else.

Letters: V vertices, F triangles, E half-edges (a triangle's side, from one corner to the next).
"""

import fast_simplification
import numpy as np
from jaxtyping import Float32, Float64, Int, Int32
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from backend.errors import UserError
from backend.mesh.asset import SMALLEST_AREA, TriangleMesh
from backend.mesh.planes import flattened
from backend.mesh.slivers import without_slivers
from backend.mesh.triangles import areas, corners_of, crossed

SIGNIFICANT = 0.01
"""Parts with less than this share of the largest part's area go: a ball of a tenth of the diameter stays."""

_SUBSTANTIAL, _FLOATING = 0.06, 0.08
"""Parts with less than this share of the largest part's area go, too, if they are so many metres from all larger ones:
not a leg whose joint has a gap. A ball of a quarter of the diameter stays anywhere."""

FEW = 2_000
"""Face budgets up to which flat sides are made flat: quadrics spend so few faces on the waves in them."""

_FINE = 10_000  # faces of the mesh whose flat sides are looked for

_PASSES = 10
_AGGRESSIVENESS = 5.0  # of the decimation: 7, its default, errs by half as much again
_SMALLEST_CELL = 1 / 128
_APART = 0.02  # how far vertices in one place step towards their own neighbours, as a share of the distance


def clean(mesh: TriangleMesh, faces: int) -> TriangleMesh:
    """The significant parts of `mesh` in at most `faces` triangles, closed and manifold.

    Every edge has exactly two faces, also after welding vertices by position; no face is degenerate, and
    hardly any a sliver; each part encloses a positive volume. With FEW faces at most, flat sides are flat.
    `mesh` must be wound outwards; parts that are not (cavities) go. Raises UserError if nothing is left.
    """
    mesh = grounded(significant(closed(mesh)))
    if faces <= FEW:
        flat = repaired(flattened(repaired(decimated(mesh, _FINE))))
        mesh = repaired(without_slivers(flat))  # in flat places, they block collapses
    result = significant(without_slivers(repaired(decimated(mesh, faces))))
    if len(result.triangles) == 0:
        raise UserError("no solid is left of the object: try more --faces, more steps or another seed")
    return result


def closed(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh with a cone of triangles, to the middle of its rim, over each hole."""
    edges = _half_edges(mesh.triangles)
    balance = coo_array((np.ones(len(edges)), edges.T), shape=(len(mesh.vertices),) * 2).tocsr()
    balance = (balance - balance.T).tocoo()
    open_edges = np.stack([balance.row, balance.col], axis=-1)[balance.data > 0]
    if len(open_edges) == 0:
        return mesh
    rim, vertex = np.unique(open_edges, return_inverse=True)
    ends = vertex.reshape(-1, 2)
    count, hole = connected_components(coo_array((np.ones(len(ends)), ends.T), shape=(len(rim),) * 2), directed=False)
    middles = [mesh.vertices[rim[hole == i]].mean(0) for i in range(count)]
    tips = len(mesh.vertices) + hole[ends[:, 0]]
    cones = np.stack([open_edges[:, 1], open_edges[:, 0], tips], axis=-1).astype(np.int32)
    return TriangleMesh(np.concatenate([mesh.vertices, middles]), np.concatenate([mesh.triangles, cones]))


def significant(mesh: TriangleMesh) -> TriangleMesh:
    """The parts that can be seen and have at least SIGNIFICANT of the largest part's area.

    Cavities (parts of negative volume) and parts inside other parts cannot be seen.
    """
    count, part = components(mesh)
    corners = corners_of(mesh)
    area = np.bincount(part, areas(corners), count)
    volume = np.bincount(part, (crossed(corners) * corners[:, 0]).sum(-1) / 3, count)
    kept: list[int] = []
    for index in sorted(np.flatnonzero(volume > 0).tolist(), key=lambda index: -area[index]):
        if kept and area[index] < SIGNIFICANT * area[kept[0]]:
            break
        if not any(_winding(corners[part == other], corners[part == index][0, 0]) > 0.5 for other in kept):
            kept.append(index)
    return _used(mesh.vertices, mesh.triangles[np.isin(part, kept)])


def grounded(mesh: TriangleMesh) -> TriangleMesh:
    """Without small parts that float away from all larger ones. `mesh` is of small triangles."""
    count, part = components(mesh)
    if count == 1:
        return mesh
    corners = corners_of(mesh)
    area = np.bincount(part, areas(corners), count)
    kept: list[int] = []
    for index in np.argsort(-area).tolist():
        small = bool(kept) and area[index] < _SUBSTANTIAL * area[kept[0]]
        if not (small and _float_apart(corners[part == index], corners[np.isin(part, kept)])):
            kept.append(index)
    return _used(mesh.vertices, mesh.triangles[np.isin(part, kept)])


def _float_apart(one: Float64[np.ndarray, "m 3 3"], others: Float64[np.ndarray, "n 3 3"]) -> bool:
    """Whether all corners of one part are _FLOATING from all of the others."""
    nearest, _ = KDTree(others.reshape(-1, 3)).query(one.reshape(-1, 3), distance_upper_bound=_FLOATING)
    return bool(np.isinf(nearest).all())


def components(mesh: TriangleMesh) -> tuple[int, Int[np.ndarray, " F"]]:
    """How many parts hang together by shared vertices, and which of them each triangle belongs to."""
    edges = _half_edges(mesh.triangles)
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(len(mesh.vertices),) * 2)
    _, vertex_part = connected_components(graph, directed=False)
    parts, part = np.unique(vertex_part[mesh.triangles[:, 0]], return_inverse=True)
    return len(parts), part


def decimated(mesh: TriangleMesh, faces: int) -> TriangleMesh:
    """At most `faces` triangles, by collapsing the edges that matter least (quadric errors)."""
    cell = _SMALLEST_CELL
    while len(mesh.triangles) > faces:
        points, triangles = fast_simplification.simplify(
            mesh.vertices.astype(np.float64), mesh.triangles, target_count=faces, agg=_AGGRESSIVENESS
        )
        mesh = TriangleMesh(points.astype(np.float32), triangles.astype(np.int32))
        if len(triangles) > faces:
            # Slivers in flat places block further collapses: they are gone when near vertices are drawn together.
            mesh = _clustered(mesh, cell)
            cell *= 2
    return mesh


def _clustered(mesh: TriangleMesh, cell: float) -> TriangleMesh:
    """The mesh with all vertices in one cell of a grid, `cell` metres wide, drawn together to their mean."""
    _, cluster = np.unique(np.floor(mesh.vertices / cell), axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    sums = np.stack([np.bincount(cluster, mesh.vertices[:, axis]) for axis in range(3)], axis=-1)
    vertices = (sums / np.bincount(cluster)[:, None]).astype(np.float32)
    return TriangleMesh(vertices, _without_flaps(_with_three_corners(cluster[mesh.triangles].astype(np.int32))))


def repaired(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh without degenerate faces, and taken apart where it touches itself. `mesh` must be closed."""
    for _ in range(_PASSES):
        mesh = _collapsed(mesh)
        mesh = _used(mesh.vertices, _without_flaps(mesh.triangles))
        # Where one way of pairing faces around an edge leaves it as it is, the other way parts it.
        apart = _taken_apart(mesh, through_solid=True)
        if apart is mesh:
            apart = _taken_apart(mesh, through_solid=False)
        if apart is mesh:
            break
        mesh = apart
    return mesh


def _collapsed(mesh: TriangleMesh) -> TriangleMesh:
    """Vertices in one place welded, and the shortest edge of each degenerate face drawn together."""
    _, first, same = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    vertices, triangles = mesh.vertices[first], same.reshape(-1)[mesh.triangles].astype(np.int32)
    for _ in range(_PASSES):
        triangles = _with_three_corners(triangles)
        corners = vertices[triangles].astype(np.float64)
        degenerate = areas(corners) < SMALLEST_AREA
        if not degenerate.any():
            break
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=-1)[degenerate]
        side = sides.argmin(axis=1)
        bad, row = triangles[degenerate], np.arange(len(side))
        ends = bad[row, side], bad[row, (side + 1) % 3]
        graph = coo_array((np.ones(len(side)), ends), shape=(len(vertices),) * 2)
        _, group = connected_components(graph, directed=False)
        _, keeper = np.unique(group, return_index=True)
        triangles = keeper[group][triangles].astype(np.int32)
    return TriangleMesh(vertices, triangles)


def _with_three_corners(triangles: Int32[np.ndarray, "_ 3"]) -> Int32[np.ndarray, "_ 3"]:
    """The triangles that have not the same vertex twice."""
    return triangles[(triangles != np.roll(triangles, 1, axis=1)).all(axis=1)]


def _without_flaps(triangles: Int32[np.ndarray, "F 3"]) -> Int32[np.ndarray, "_ 3"]:
    """All faces but pairs of the same three vertices back to back."""
    ascending = np.sort(triangles, axis=1)
    _, face = np.unique(ascending, axis=0, return_inverse=True)
    face = face.reshape(-1)
    # A cyclic order is ascending if two of its three steps are.
    way = np.where((np.roll(triangles, -1, axis=1) > triangles).sum(axis=1) == 2, 1, -1)
    order = np.lexsort((way, face))
    face, way = face[order], way[order]
    count, up = np.bincount(face), np.bincount(face, way > 0).astype(int)
    rank = np.arange(len(face)) - (np.cumsum(count) - count)[face]
    down = count - up
    paired = np.minimum(up, down)
    # The downward faces of each place come first: pairs are taken from where the two kinds meet.
    lone = (rank < (down - paired)[face]) | (rank >= (down + paired)[face])
    return triangles[np.sort(order[lone])]


def _taken_apart(mesh: TriangleMesh, through_solid: bool) -> TriangleMesh:
    """The mesh with a vertex of its own for each sheet that passes through one; itself if there is nothing to do.

    Sheets are followed from face to face across edges. Where an edge has more than two faces, each is
    paired with its neighbour around the edge, across the solid between them or across the air.
    """
    first, second = _paired_half_edges(mesh, through_solid)

    def end(half_edge: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
        return half_edge - half_edge % 3 + (half_edge + 1) % 3

    # Half-edges are numbered as the corners that they start from.
    links = np.concatenate([first, end(first)]), np.concatenate([end(second), second])
    corner_count = mesh.triangles.size
    graph = coo_array((np.ones(len(links[0])), links), shape=(corner_count,) * 2)
    count, sheet = connected_components(graph, directed=False)
    if count == len(mesh.vertices):
        return mesh
    original = np.zeros(count, dtype=int)
    original[sheet] = mesh.triangles.reshape(-1)
    centres = mesh.vertices[mesh.triangles].mean(axis=1).repeat(3, axis=0)
    sums = np.stack([np.bincount(sheet, centres[:, axis], count) for axis in range(3)], axis=-1)
    around = sums / np.bincount(sheet, minlength=count)[:, None]
    step = np.where(np.bincount(original)[original] > 1, _APART, 0.0)[:, None]
    vertices = mesh.vertices[original] * (1 - step) + around * step
    return TriangleMesh(vertices.astype(np.float32), sheet.reshape(-1, 3).astype(np.int32))


def _paired_half_edges(mesh: TriangleMesh, through_solid: bool) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " E"]]:
    """Half-edges and, for each, the one that runs the other way on the neighbouring face."""
    edges = _half_edges(mesh.triangles)
    _, edge = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    order = np.argsort(edge.reshape(-1), kind="stable")
    count = np.bincount(edge.reshape(-1))
    start = np.cumsum(count) - count
    simple = start[count == 2]
    first, second = [order[simple]], [order[simple + 1]]
    for index in np.flatnonzero(count > 2):
        around = order[start[index] : start[index] + count[index]]
        forward, backward = _neighbours_around(mesh, edges, around, through_solid)
        first.append(forward)
        second.append(backward)
    return np.concatenate(first), np.concatenate(second)


def _neighbours_around(
    mesh: TriangleMesh, edges: Int[np.ndarray, "_ 2"], around: Int[np.ndarray, " n"], through_solid: bool
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Pairs of half-edges of one edge, forward and backward, whose faces bound the same solid (or air)."""
    a, b = edges[around].min(axis=1)[0], edges[around].max(axis=1)[0]
    apex = mesh.vertices[mesh.triangles.reshape(-1)[around - around % 3 + (around + 2) % 3]].astype(np.float64)
    origin = mesh.vertices[a].astype(np.float64)
    along = mesh.vertices[b] - origin
    along = along / np.linalg.norm(along)
    # Angles grow from a forward face towards its outside, so its solid lies at smaller angles.
    right = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    angle = np.arctan2((apex - origin) @ np.cross(along, right), (apex - origin) @ right)
    is_forward = edges[around, 0] == a
    forward, backward = np.flatnonzero(is_forward), list(np.flatnonzero(~is_forward))
    pairs = []
    for face in forward[np.argsort(angle[forward])][: len(backward)]:
        turn = angle[face] - angle[backward] if through_solid else angle[backward] - angle[face]
        pairs.append((around[face], around[backward.pop(int(np.argmin(turn % (2 * np.pi))))]))
    return np.array([pair[0] for pair in pairs], dtype=int), np.array([pair[1] for pair in pairs], dtype=int)


def _half_edges(triangles: Int32[np.ndarray, "F 3"]) -> Int32[np.ndarray, "E 2"]:
    """(start, end) of each triangle's sides; side c of face f, from its corner c on, is number 3 f + c."""
    return np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)


def _used(vertices: Float32[np.ndarray, "V 3"], triangles: Int32[np.ndarray, "F 3"]) -> TriangleMesh:
    """The triangles with those vertices only that they use."""
    used, renumbered = np.unique(triangles, return_inverse=True)
    return TriangleMesh(vertices[used], renumbered.reshape(-1, 3).astype(np.int32))


def _winding(corners: Float64[np.ndarray, "F 3 3"], point: Float64[np.ndarray, "3"]) -> float:
    """How often the surface of these triangles winds around `point`: 1 inside, 0 outside.

    Sum of signed solid angles over 4 pi (Van Oosterom and Strackee 1983).
    """
    a, b, c = np.moveaxis(corners - point, 1, 0)
    la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
    triple = (a * np.cross(b, c)).sum(-1)
    rest = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return float(np.arctan2(triple, rest).sum() / (2 * np.pi))
