"""Slivers: triangles so thin that they shade badly, and that other programs stumble over.

A needle goes when its short side is drawn together; a cap, a corner almost on the side across from it, when that side
is turned, to run from this corner to the one beyond. Either way a patch of faces gives way to another within the same
rim, so the surface stays as closed and as manifold as it was.

Letters: F triangles.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np
from jaxtyping import Float64

from backend.mesh.asset import SMALLEST_AREA, TriangleMesh
from backend.mesh.triangles import areas, crossed

SLENDEREST = 20.0
"""The most that `slenderness` may be. Lower, and more of the surface would change than anybody sees."""

_MOVED = 1e-3
"""How far a patch may move, on average, in metres: bevels and the like are thin on purpose, and stay."""

_Face = tuple[int, int, int]


def without_slivers(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh without its slivers: the triangles more slender than SLENDEREST. Vertices may be left unused.

    A sliver stays where nothing helps against it that leaves the surface whole and in its place.
    """
    surface = _Surface(mesh)
    while surface.improved():
        pass
    return TriangleMesh(mesh.vertices, np.array(list(surface.faces.values()), np.int32).reshape(-1, 3))


def slenderness(corners: Float64[np.ndarray, "F 3 3"]) -> Float64[np.ndarray, " F"]:
    """Longest side over the height above it: 1.15 where all sides are equal, infinite for degenerate triangles."""
    sides = np.roll(corners, -1, axis=1) - corners
    area = areas(corners)
    longest = (sides * sides).sum(axis=-1).max(axis=-1)
    return np.divide(longest, 2 * area, out=np.full(len(area), np.inf), where=area >= SMALLEST_AREA)


def _excess(corners: Float64[np.ndarray, "F 3 3"]) -> float:
    """By how much the triangles, taken together, are more slender than they may be."""
    return float((slenderness(corners) - SLENDEREST).clip(min=0).sum())


@dataclass(frozen=True)
class _Patch:
    """Faces, by their numbers, and those that would take their place."""

    old: set[int]
    new: list[_Face]


class _Surface:
    """A mesh whose faces give way to others. faces: by their numbers. around: numbers of the faces at each vertex."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self.points = mesh.vertices.astype(np.float64)
        self.faces: dict[int, _Face] = {}
        self.around: list[set[int]] = [set() for _ in self.points]
        self._numbers = count()
        self._add([(a, b, c) for a, b, c in mesh.triangles.tolist()])

    def improved(self) -> bool:
        """Try to mend each sliver, the worst first; whether any could be mended.

        Every time the excess of the whole mesh falls, so this comes to an end.
        """
        numbers = list(self.faces)
        slender = slenderness(self._corners(numbers))
        slivers = [numbers[i] for i in np.argsort(-slender) if slender[i] > SLENDEREST]
        return sum(self._mended(face) for face in slivers if face in self.faces) > 0

    def _corners(self, numbers: Iterable[int]) -> Float64[np.ndarray, "F 3 3"]:
        return self.points[np.array([self.faces[number] for number in numbers], int).reshape(-1, 3)]

    def _add(self, faces: list[_Face]) -> None:
        for face, number in zip(faces, self._numbers, strict=False):
            self.faces[number] = face
            for vertex in face:
                self.around[vertex].add(number)

    def _mended(self, sliver: int) -> bool:
        """Do what leaves least excess, and changes the enclosed volume least; whether anything helped."""
        costs = [(cost, patch) for patch in self._remedies(sliver) if (cost := self._cost(patch))]
        if not costs:
            return False
        _, patch = min(costs, key=lambda pair: pair[0])
        for number in patch.old:
            for vertex in self.faces.pop(number):
                self.around[vertex].remove(number)
        self._add(patch.new)
        return True

    def _remedies(self, sliver: int) -> Iterator[_Patch]:
        """The shortest side drawn together to either of its ends, and the longest turned."""
        corners = self.faces[sliver]
        points = self.points[list(corners)]
        lengths = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=-1)
        a, b, _ = _from(corners, int(lengths.argmin()))
        for kept, gone in ((a, b), (b, a)):
            around = [self.faces[number] for number in self.around[gone]]
            left = [_from(face, face.index(gone)) for face in around if kept not in face]
            yield _Patch(set(self.around[gone]), [(kept, second, third) for _, second, third in left])
        a, b, c = _from(corners, int(lengths.argmax()))
        for other in (self.around[a] & self.around[b]) - {sliver}:
            (beyond,) = set(self.faces[other]) - {a, b}
            yield _Patch({sliver, other}, [(a, beyond, c), (beyond, b, c)])

    def _cost(self, patch: _Patch) -> tuple[float, float] | None:
        """The excess that is left and the change of volume; None if the patch would not help, or spoil the surface."""
        if not self._stays_manifold(patch):
            return None
        old, new = self._corners(patch.old), self.points[patch.new]
        excess = _excess(new)
        if excess >= _excess(old):
            return None
        before, after = crossed(old), crossed(new)
        if (after @ before.sum(axis=0) <= 0).any():
            return None  # seen along the patch's mean normal, a face would lie on its back
        origin = old[0, 0]  # the two have one rim, so any place will do; a near one keeps digits
        change = (after * (new[:, 0] - origin)).sum() - (before * (old[:, 0] - origin)).sum()
        volume = abs(float(change)) / 3
        return (excess, volume) if volume <= _MOVED * np.linalg.norm(before, axis=-1).sum() else None

    def _stays_manifold(self, patch: _Patch) -> bool:
        """Whether every side of the new faces will have two faces, and none lies back to back with another."""
        sides = Counter(side for face in patch.new for side in combinations(sorted(face), 2))
        return (
            len(patch.new) > 0
            and all(len((self.around[a] & self.around[b]) - patch.old) + n == 2 for (a, b), n in sides.items())
            and not any((self.around[a] & self.around[b] & self.around[c]) - patch.old for a, b, c in patch.new)
        )


def _from(face: _Face, first: int) -> _Face:
    """The same face, told from another of its corners on."""
    return face[first], face[first - 2], face[first - 1]
