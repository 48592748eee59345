"""True shapes: the meshes of a folder of objects, which results are measured against."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from backend.errors import UserError
from backend.mesh.asset import TriangleMesh
from backend.mesh.fidelity import f_scores
from backend.prior import catalogue, objects
from backend.prior.catalogue import Entry

F_THRESHOLD, F_LOOSE = 0.05, 0.1
"""Metres that a point may be off the true surface; objects are about 1.6 across.

A pixel of the built-in model covers some 0.035. So the first asks for proportions that are true to a pixel or so, and
the second whether parts are missing or too many.
"""

_QUARTER_TURNS, _POINTS = 4, 6_000


@dataclass(frozen=True)
class References:
    """The objects in a folder."""

    folder: Path
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, folder: Path) -> "References":
        """Those of `folder`. Raises UserError if there are none."""
        return cls(folder, catalogue.read(folder))

    @property
    def revision(self) -> str:
        """How many objects there are, and a digest of what they are called and how large their files are."""
        told = [(entry.file, entry.noun, (self.folder / entry.file).stat().st_size) for entry in self.entries]
        return f"{len(told)} objects, sha256:{hashlib.sha256(repr(told).encode()).hexdigest()}"

    def called(self, noun: str) -> Entry:
        """The first object called so. Raises UserError if there is none."""
        for entry in self.entries:
            if entry.noun == noun:
                return entry
        raise UserError(
            f'{self.folder} holds no "{noun}", which is to be begun from; name a folder that has all objects'
        )

    def alike(self, noun: str) -> list[Path]:
        """The files of all objects called so."""
        return [self.folder / entry.file for entry in self.entries if entry.noun == noun]

    def f_scores(self, mesh: TriangleMesh | None, noun: str) -> tuple[float, float] | None:
        """The F-scores within F_THRESHOLD and F_LOOSE, each against the object called `noun` that matches best.

        An object that has a front is taken as it stands; any other in the best of four quarter turns. None if nothing
        is called so, 0 without a mesh. See `fidelity.f_scores`. Raises UserError for a file that cannot be read.
        """
        alike = [entry for entry in self.entries if entry.noun == noun]
        if not alike:
            return None
        if mesh is None:
            return 0.0, 0.0
        generator = torch.Generator().manual_seed(0)
        scores = [
            f_scores(mesh, turned(_mesh(self.folder / entry.file), quarter), (F_THRESHOLD, F_LOOSE), generator, _POINTS)
            for entry in alike
            for quarter in range(1 if entry.has_front else _QUARTER_TURNS)
        ]
        close, loose = (max(of_each) for of_each in zip(*scores, strict=True))
        return close, loose


@cache  # runs of a prompt want the same
def _mesh(file: Path) -> TriangleMesh:
    return objects.read(file).mesh


def turned(mesh: TriangleMesh, quarter: int) -> TriangleMesh:
    """A mesh after `quarter` quarter turns around z."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter % _QUARTER_TURNS]
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=mesh.vertices.dtype)
    return TriangleMesh(mesh.vertices @ turn, mesh.triangles)
