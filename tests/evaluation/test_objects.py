"""Objects from whole runs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from backend.errors import NotFiniteError, UserError
from backend.evaluation.objects import as_far_as_possible
from backend.mesh.asset import Asset, TriangleMesh
from backend.pipeline.stages import Desk, Work

MESH = TriangleMesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
ASSET = Asset(MESH, np.zeros((1, 3, 2), np.float32), np.zeros((1, 1, 3), np.uint8), np.zeros((1, 3, 3), np.float32))


@dataclass
class Makes:
    """A stage that makes what it is given, or fails."""

    what: Asset | UserError
    parts: ClassVar[tuple[str, ...]] = ()

    def carry_out(self, work: Work, desk: Desk) -> Work:
        if isinstance(self.what, UserError):
            raise self.what
        return replace(work, asset=self.what)


@pytest.mark.parametrize(
    ("stages", "asset", "refused"),
    [
        ([Makes(ASSET)], ASSET, ""),
        ([Makes(UserError("there is no object")), Makes(ASSET)], None, "there is no object"),
        ([Makes(ASSET), Makes(NotFiniteError("a loss is not finite"))], ASSET, "a loss is not finite"),
    ],
)
def test_a_stage_that_fails_is_told_and_takes_nothing_away(
    stages: list[Makes], asset: Asset | None, refused: str, tmp_path: Path
) -> None:
    work, told = as_far_as_possible(stages, Work(), Desk({}, tmp_path, {}, lambda status: None))
    assert work.asset is asset
    assert told == refused
