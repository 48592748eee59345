"""The second stage: from the field to a textured mesh."""

from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import torch

from backend.mesh.asset import MeshSettings
from backend.mesh.build import MeshStage, build
from backend.pipeline.stages import Desk, Work, needed


@dataclass(frozen=True)
class Meshing:
    """See `stages.Stage`. Raises UserError if there is no object in the field."""

    settings: MeshSettings
    device: torch.device

    parts: ClassVar[tuple[str, ...]] = get_args(MeshStage)

    def carry_out(self, work: Work, desk: Desk) -> Work:
        asset, notes = build(needed(work.field), self.settings, self.device, desk.part, work.reference)
        if work.placement:
            asset = work.placement.outwards(asset)
        return replace(work, asset=asset, notes=(*work.notes, *notes))
