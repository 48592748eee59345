"""The first stage: a field that looks like what is asked for from every side."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch

from backend.engine.fields import TrainableField, VoxelField
from backend.engine.fitting import fit
from backend.engine.hashgrid import HashGridField
from backend.engine.latents import displayed
from backend.engine.names import FieldName
from backend.engine.optimise import Resumption, optimise
from backend.engine.randomness import generator, stage_seed
from backend.engine.reference import Portrait, Reference
from backend.engine.regularisers import Ramp
from backend.engine.rules.choice import by_view
from backend.engine.sdf import SdfField, Sharpening
from backend.engine.settings import Settings
from backend.engine.tcnn_hashgrid import missing, tcnn_hash_grid_field
from backend.guidance import memory
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.lora import LoraRival
from backend.guidance.memory import Needs
from backend.guidance.prompts import ViewPrompts
from backend.machine import free_memory
from backend.pipeline.given import Given
from backend.pipeline.job import Job
from backend.pipeline.sculpting import SHARP, target_of
from backend.pipeline.stages import Desk, Optimisation, Work

logger = logging.getLogger(__name__)

OPTIMISING = "optimising"
"""The part of a job that shapes the field."""


@dataclass(frozen=True)
class Shape:
    """See `stages.Stage` and `stages.Optimising`: from nothing to a field, or from what is given.

    given: the mesh that the field starts as. reference: the picture that it is to look like from the front.
    """

    job: Job
    guidance: DiffusionGuidance
    texts: ViewPrompts
    given: Given | None = None
    reference: Reference | None = None

    name: ClassVar[str] = "shape"
    parts: ClassVar[tuple[str, ...]] = (OPTIMISING,)

    @property
    def views(self) -> int:
        return self.job.optimisation.views

    def fitting_views(self) -> int | None:
        finest = self.job.optimisation.finest(self.guidance.size)
        return fitting(self.job, self.job.optimisation, self.guidance, partial(memory.needs, self.job.field, *finest))

    def carry_out(self, work: Work, desk: Desk) -> Work:
        with desk.part(OPTIMISING):
            optimisation = desk.optimised(self)
        placement = self.given.placement if self.given else None
        reference = optimisation.portrait.reference.to(torch.device("cpu")) if optimisation.portrait else None
        return replace(work, field=optimisation.shown(), placement=placement, reference=reference)

    def begin(self, views_at_once: int | None = None, resume: Resumption | None = None) -> Optimisation:
        seed = stage_seed(self.job.seed, self.name)
        settings, device = self.job.optimisation, self.guidance.device
        solid, sharpening = (target_of(self.given, seed, device), SHARP) if self.given else (None, None)
        field = as_new(self.job.field, self.guidance.channels, seed, device, settings.depth, sharpening)
        if solid is not None and resume is None:
            fit(field, solid, settings.learning_rate, seed)
        model = self.guidance if views_at_once is None else self.guidance.lean(views_at_once)
        rival = None
        if settings.rule == "vsd":
            rival = LoraRival(model, generator(seed, 0, "rival"), settings.rival_rate)
        portrait = Portrait(self.reference.to(device)) if self.reference else None
        steps = optimise(field, model, self.texts, settings, seed, resume, rival, views_at_once, portrait, solid)
        return Optimisation(steps, partial(displayed, field, self.guidance), portrait)


def fitting(
    job: Job, settings: Settings, guidance: DiffusionGuidance, needs: Callable[[float, float], Needs]
) -> int | None:
    """How many views of a step fit into the free memory at a time; None: all.

    needs: what a step takes, by what encoding a view and predictions for it take.
    """
    together = settings.joint_views if by_view(settings.rule, 1.0) else settings.views
    free = free_memory(guidance.device)
    at_once = needs(*guidance.view_bytes(4 if job.perp_neg else 2)).views_at_once(free, settings.views, together)
    if at_once is not None:
        logger.warning("%d MiB of memory are free: taking views %d at a time", free >> 20, at_once)
    return at_once


def as_new(
    kind: FieldName,
    channels: int,
    seed: int,
    device: torch.device,
    depth: Ramp | None = None,
    sharpening: Sharpening | None = None,
) -> TrainableField:
    """The field before the first step. depth: of a voxel field, and sharpening: of an sdf, see there."""
    if kind == "voxel":
        return VoxelField(channels, depth=depth).to(device)
    if kind == "sdf":
        return SdfField(channels, sharpening=sharpening).to(device)
    draws = generator(seed, 0, "field", device)
    if device.type == "cuda" and missing() is None:
        return tcnn_hash_grid_field(draws, channels)
    return HashGridField(draws, channels)
