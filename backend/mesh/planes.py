"""Flat sides: what a noisy surface was meant to be where it is nearly a plane.

A variational shape approximation (Cohen-Steiner et al. 2004) of those parts only that are flat: planes are grown one
after the other from where the surface turns least, and given up where they bend or go over into the rest smoothly. Then
each vertex of a flat side goes to its plane, and where two or three of them meet, to their common edge or corner.
Quadric decimation keeps what is flat and straight, so that few faces go a long way: the normals of a noisy cube of 500
faces err by 11 degrees in the mean where it is decimated as it is, and by 2 after this.

Letters: V vertices, F triangles, K planes, n faces of one region.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from backend.mesh.asset import TriangleMesh
from backend.mesh.creases import opposite
from backend.mesh.triangles import areas, corners_of, crossed, unit

_SCALE = 0.05
"""Metres over which normals are averaged before faces are judged by them."""

_NEAR, _ALIKE = 0.025, np.cos(np.radians(35))
"""How far from its plane a flat side may wave, in metres, and how far its normals may turn away."""

_STRAIGHT = float(np.radians(25))
"""What a flat side may turn by from one end to the other. A ball's cap within _NEAR of a plane turns by more."""

_LEVEL = float(np.sin(np.radians(5)))
"""What a large flat side may lean outwards around its inner half, in the mean. A ring's upper band does twice so."""

_SMALLEST, _LARGE = 0.01, 0.04
"""Shares of the surface: of the smallest flat side, and from which on waves on it cancel out."""

_CUT_OFF = 0.8
"""The share of its rim beyond which the surface looks elsewhere: on round things it goes on turning slowly."""

_RIM, _ELSEWHERE = 0.08, np.cos(np.radians(40))
_EDGE, _EDGE_ALIKE = 0.07, np.cos(np.radians(65))  # as _NEAR and _ALIKE, for the rounded edges between flat sides
_ROUNDS = 8  # of faces that such an edge is wide, on either side
_UPRIGHT, _STAY = 1e-4, 1e-3  # what holds planes of narrow regions, and vertices where planes are nearly parallel
_FURTHEST = 0.08  # metres that a vertex may move


@dataclass(frozen=True)
class _Faces:
    """beside: the faces beyond the three sides. normal: averaged over _SCALE."""

    area: Float64[np.ndarray, " F"]
    centre: Float64[np.ndarray, "F 3"]
    normal: Float64[np.ndarray, "F 3"]
    beside: Int64[np.ndarray, "F 3"]


@dataclass(frozen=True)
class _Plane:
    """The points x with normal x = offset."""

    normal: Float64[np.ndarray, "3"]
    offset: float

    def holds(self, faces: _Faces, some: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of the faces lie near it and look its way."""
        near = np.abs(faces.centre[some] @ self.normal - self.offset) < _NEAR
        return near & (faces.normal[some] @ self.normal > _ALIKE)


def flattened(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh with flat sides that are flat and edges between them that are straight; what is curved stays as it is.

    Faces may come out without area. `mesh` must be closed and manifold, fill the unit sphere, and should have some
    thousand faces.
    """
    if len(mesh.triangles) == 0:
        return mesh
    faces = _faces(mesh)
    side, planes = _flat_sides(faces)
    if not planes:
        return mesh
    normals, offsets = np.array([plane.normal for plane in planes]), np.array([plane.offset for plane in planes])
    side = _with_edges(faces, side, normals, offsets)
    return TriangleMesh(_drawn(mesh, side, normals, offsets), mesh.triangles)


def _faces(mesh: TriangleMesh) -> _Faces:
    corners = corners_of(mesh)
    area, normal, beside = areas(corners), unit(crossed(corners)), opposite(mesh.triangles) // 3
    for _ in range(int(np.clip(_SCALE**2 / area.mean(), 1, 30))):  # as many times as faces, squared, are reached
        weighted = area[:, None] * normal
        normal = unit(weighted + weighted[beside].sum(axis=1))
    return _Faces(area, corners.mean(axis=1), normal, beside)


def _flat_sides(faces: _Faces) -> tuple[Int64[np.ndarray, " F"], list[_Plane]]:
    """The planes of all flat sides, and which of them each face belongs to, or -1."""
    flatness = (faces.normal[faces.beside] * faces.normal[:, None]).sum(axis=(1, 2))
    seeds = np.flatnonzero(flatness >= flatness[faces.beside].max(axis=1))
    side, tried = np.full(len(faces.area), -1), np.zeros(len(faces.area), bool)
    planes: list[_Plane] = []
    for seed in seeds[np.argsort(-flatness[seeds], kind="stable")].tolist():
        if tried[seed]:
            continue
        region, plane = _grown(faces, seed, side < 0)
        tried[seed] = tried[region] = True
        if _is_flat(faces, region, plane):
            side[region] = len(planes)
            planes.append(plane)
    return side, planes


def _grown(faces: _Faces, seed: int, free: Bool[np.ndarray, " F"]) -> tuple[Int64[np.ndarray, " n"], _Plane]:
    """The free faces around `seed` near one plane, which is fitted again as they become more."""
    known = ~free
    known[seed] = True
    fresh = region = np.array([seed])
    plane, fitted = _Plane(faces.normal[seed], float(faces.centre[seed] @ faces.normal[seed])), 1
    while len(fresh):
        near = np.unique(faces.beside[fresh])
        near = near[~known[near]]
        fresh = near[plane.holds(faces, near)]
        known[fresh] = True
        region = np.concatenate([region, fresh])
        if len(region) > 1.5 * fitted:
            plane, fitted = _fitted(faces, region), len(region)
    region = region[plane.holds(faces, region)]
    return region, _fitted(faces, region) if len(region) else plane


def _fitted(faces: _Faces, region: Int64[np.ndarray, " n"]) -> _Plane:
    """The plane through the faces' middle, in least squares."""
    weight = faces.area[region] / faces.area[region].sum()
    normal = weight @ faces.normal[region]
    normal /= np.linalg.norm(normal)
    middle = weight @ faces.centre[region]
    offset = faces.centre[region] - middle
    height = offset @ normal
    along = offset - height[:, None] * normal
    moments = (along * weight[:, None]).T
    normal = normal - np.linalg.solve(moments @ along + _UPRIGHT * np.eye(3), moments @ height)
    normal /= np.linalg.norm(normal)
    return _Plane(normal, float(middle @ normal))


def _is_flat(faces: _Faces, region: Int64[np.ndarray, " n"], plane: _Plane) -> bool:
    share = float(faces.area[region].sum() / faces.area.sum())
    return (
        share > _SMALLEST
        and _turn(faces, region, plane) < _STRAIGHT
        and (share < _LARGE or _lean(faces, _inner_half(faces, region), plane) < _LEVEL)
        and _cut_off(faces, region, plane) > _CUT_OFF
    )


def _turn(faces: _Faces, region: Int64[np.ndarray, " n"], plane: _Plane) -> float:
    """By how much a paraboloid near the faces turns from one end of them to the other, in radians."""
    weight = faces.area[region] / faces.area[region].sum()
    offset = faces.centre[region] - weight @ faces.centre[region]
    # The axes along which the region is longest, and across that within the plane.
    _, axes = np.linalg.eigh((offset * weight[:, None]).T @ offset - np.outer(plane.normal, plane.normal))
    x, y, height = offset @ axes[:, 2], offset @ axes[:, 1], offset @ plane.normal
    basis = np.stack([np.ones_like(x), x, y, x * y, x * x / 2, y * y / 2], axis=-1)
    root = np.sqrt(weight)
    *_, along, across = np.linalg.lstsq(basis * root[:, None], height * root)[0]
    # A stretch of even density is sqrt(12) standard deviations long.
    lengths = np.sqrt([12 * weight @ (x * x), 12 * weight @ (y * y)])
    return float(max(abs(along) * lengths[0], abs(across) * lengths[1]))


def _inner_half(faces: _Faces, region: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " m"]:
    """What is left when faces are peeled off the rim, as long as it is half of the region's area."""
    half = faces.area[region].sum() / 2
    while True:
        within = np.zeros(len(faces.area), bool)
        within[region] = True
        inner = region[within[faces.beside[region]].all(axis=1)]
        if faces.area[inner].sum() < half or len(inner) == len(region):
            return region
        region = inner


def _lean(faces: _Faces, region: Int64[np.ndarray, " n"], plane: _Plane) -> float:
    """The sine by which the surface leans outwards (or inwards) around the region, in the mean.

    That is the mean curvature within (divergence theorem): waves cancel out, what is round at large does not, nor does
    a band that closes on itself, as around a ring, of which no paraboloid tells anything.
    """
    within = np.zeros(len(faces.area), bool)
    within[region] = True
    face, side = np.nonzero(~within[faces.beside[region]])
    here, beyond = region[face], faces.beside[region[face], side]
    outwards = faces.centre[beyond] - faces.centre[here]
    outwards -= (outwards @ plane.normal)[:, None] * plane.normal
    lean = ((faces.normal[here] + faces.normal[beyond]) * outwards).sum() / 2
    return float(abs(lean) / max(np.linalg.norm(outwards, axis=-1).sum(), np.finfo(np.float64).tiny))


def _cut_off(faces: _Faces, region: Int64[np.ndarray, " n"], plane: _Plane) -> float:
    """The share of the faces _RIM beyond the region that look elsewhere than its plane."""
    known = np.zeros(len(faces.area), bool)
    known[region] = True
    outermost = region
    for _ in range(max(1, round(_RIM / np.sqrt(faces.area.mean())))):
        outermost = np.unique(faces.beside[outermost])
        outermost = outermost[~known[outermost]]
        known[outermost] = True
    area = faces.area[outermost]
    return float(area @ (faces.normal[outermost] @ plane.normal < _ELSEWHERE) / max(area.sum(), np.finfo(float).tiny))


def _with_edges(
    faces: _Faces,
    side: Int64[np.ndarray, " F"],
    normals: Float64[np.ndarray, "K 3"],
    offsets: Float64[np.ndarray, " K"],
) -> Int64[np.ndarray, " F"]:
    """`side` where faces on rounded edges belong to that of the flat sides beside them that they look like most.

    Only where flat sides come to meet so: anywhere else the side would end in a lip above the surface.
    """
    before, side = side, side.copy()
    for _ in range(_ROUNDS):
        rest = np.flatnonzero(side < 0)
        beside = side[faces.beside[rest]]
        alike = (normals[beside] * faces.normal[rest, None]).sum(axis=-1)
        height = (normals[beside] * faces.centre[rest, None]).sum(axis=-1) - offsets[beside]
        alike[(beside < 0) | (np.abs(height) > _EDGE)] = -1
        best = alike.argmax(axis=1)[:, None]
        fits = np.take_along_axis(alike, best, axis=1) > _EDGE_ALIKE
        side[rest] = np.where(fits, np.take_along_axis(beside, best, axis=1), -1)[:, 0]
    for _ in range(_ROUNDS):
        side = np.where((side[faces.beside] < 0).any(axis=1), before, side)
    return side


def _drawn(
    mesh: TriangleMesh,
    side: Int64[np.ndarray, " F"],
    normals: Float64[np.ndarray, "K 3"],
    offsets: Float64[np.ndarray, " K"],
) -> Float32[np.ndarray, "V 3"]:
    """The vertices, each at the nearest point on the planes of all its faces; where one has none, it stays."""
    vertex, plane = np.unique(np.stack([mesh.triangles.ravel(), side.repeat(3)]), axis=1)
    within = ~np.isin(vertex, vertex[plane < 0])
    vertex, plane = vertex[within], plane[within]
    places = mesh.vertices.astype(np.float64)
    normal = normals[plane]
    missing = offsets[plane] - (places[vertex] * normal).sum(axis=-1)
    left = np.tile(_STAY * np.eye(3), (len(places), 1, 1))
    right = np.zeros((len(places), 3))
    np.add.at(left, vertex, normal[:, :, None] * normal[:, None, :])
    np.add.at(right, vertex, missing[:, None] * normal)
    step = np.linalg.solve(left, right[:, :, None])[:, :, 0]
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    return (places + step * np.minimum(1, _FURTHEST / np.maximum(length, _FURTHEST))).astype(np.float32)
