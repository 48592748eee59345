"""The stages that paint: the artist's own mesh is opened, and any mesh gets its colours from the model."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from backend.engine.optimise import Resumption, run
from backend.engine.painting import Paint, Painting
from backend.engine.randomness import generator, stage_seed
from backend.engine.settings import Settings
from backend.guidance import memory
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.lora import LoraRival
from backend.guidance.prompts import ViewPrompts
from backend.mesh.asset import Asset
from backend.mesh.canvas import MeshCanvas
from backend.mesh.likeness import likened
from backend.mesh.shell import Shell
from backend.pipeline.given import Given, as_asset, marked
from backend.pipeline.job import Job
from backend.pipeline.shape import fitting
from backend.pipeline.stages import Desk, Optimisation, Work, needed

_SAMPLES = 256  # of the surface, per side of a texture, for a preview


@dataclass(frozen=True)
class Opening:
    """See `stages.Stage`: the artist's mesh with its own colours, and room for others on its texture."""

    given: Given
    texture: int

    parts: ClassVar[tuple[str, ...]] = ("unwrapping",)

    def carry_out(self, work: Work, desk: Desk) -> Work:
        with desk.part(*self.parts):
            asset, notes = as_asset(self.given, self.texture)
        return replace(work, asset=asset, placement=self.given.placement, notes=(*work.notes, *notes))


@dataclass(frozen=True)
class Colouring:
    """See `stages.Stage`: colours of the mesh that there is. settings: of their optimisation.

    A picture that the job began from has the last word where its camera sees the surface.
    """

    job: Job
    settings: Settings
    guidance: DiffusionGuidance
    texts: ViewPrompts

    parts: ClassVar[tuple[str, ...]] = ("painting", "colouring")

    def carry_out(self, work: Work, desk: Desk) -> Work:
        asset = needed(work.asset)
        inside = work.placement.inwards(asset) if work.placement else asset
        mask = self.job.start.mask if self.job.start and self.job.paint_only else None
        free = marked(mask, len(asset.mesh.triangles))
        strokes = _Strokes(self, inside, free)
        painting, colouring = self.parts
        with desk.part(painting):
            desk.optimised(strokes)
        with desk.part(colouring):
            texture = strokes.canvas.painted(strokes.paint.on, self.job.mesh.texture)
            if work.reference is not None:
                texture = likened(replace(inside, texture=texture), work.reference)
        return replace(work, asset=replace(asset, texture=texture), painting=strokes.scene)


class _Strokes:
    """See `stages.Optimising`. asset: inside the unit sphere. free: the triangles that may be painted."""

    name: ClassVar[str] = "paint"

    def __init__(self, of: Colouring, asset: Asset, free: Bool[np.ndarray, " F"]) -> None:
        self._of = of
        self.canvas = MeshCanvas(asset, free, of.guidance.device)
        self._as_new()

    def _as_new(self) -> None:
        self.paint = Paint(generator(self._seed, 0, "paint", self._of.guidance.device))
        self.scene = Painting(self.paint, self.canvas, self._of.settings.regularisation)

    @property
    def _seed(self) -> int:
        return stage_seed(self._of.job.seed, self.name)

    @property
    def views(self) -> int:
        return self._of.settings.views

    def fitting_views(self) -> int | None:
        """See `stages.Optimising`. A ray has one point, of which a hash grid is asked."""
        pixels, _ = self._of.settings.finest(self._of.guidance.size)
        return fitting(
            self._of.job, self._of.settings, self._of.guidance, partial(memory.needs, "hashgrid", pixels, 2.0)
        )

    def begin(self, views_at_once: int | None = None, resume: Resumption | None = None) -> Optimisation:
        self._as_new()
        of, settings = self._of, self._of.settings
        model = of.guidance if views_at_once is None else of.guidance.lean(views_at_once)
        rival = None
        if settings.rule == "vsd":
            rival = LoraRival(model, generator(self._seed, 0, "rival"), settings.rival_rate)
        steps = run(self.scene, model, of.texts, settings, self._seed, resume, rival, views_at_once)
        return Optimisation(steps, partial(Shell, self.canvas.samples(_SAMPLES), self.paint.over))
