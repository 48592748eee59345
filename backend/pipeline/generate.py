"""The way through the house: a job goes through its stages, and what they made becomes files."""

from pathlib import Path

import torch

from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.prompts import ViewPrompts
from backend.pipeline import keeping, results
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.given import read
from backend.pipeline.job import Job
from backend.pipeline.meshing import Meshing
from backend.pipeline.painting import Colouring, Opening
from backend.pipeline.picture import reference
from backend.pipeline.remedies import trouble
from backend.pipeline.results import Report, prepare_folder
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Desk, Listener, Stage, Work, needed

PARTS = ("loading", *Shape.parts, *Meshing.parts, "writing")
"""All that is announced of a job from a prompt alone, in this order."""


def parts_of(job: Job) -> tuple[str, ...]:
    """All that is announced of `job`, in this order."""
    if job.paint_only:
        return "loading", *Opening.parts, *Colouring.parts, "writing"
    return (*PARTS[:-1], *(Colouring.parts if job.painting else ()), PARTS[-1])


def steps_of(job: Job) -> dict[str, int]:
    """Those of them that are optimised, and their steps."""
    painting = Colouring.parts[0]
    if job.paint_only:
        return {painting: job.optimisation.steps}
    shaping = {Shape.parts[0]: job.optimisation.steps}
    return {**shaping, painting: job.painting.steps} if job.painting else shaping


def stages_of(job: Job, guidance: DiffusionGuidance, texts: ViewPrompts) -> tuple[Stage, ...]:
    """The stages that `job` goes through, in this order. Raises UserError if what it begins from cannot be read."""
    start, given, seen = job.start, None, None
    if start is not None:
        start.verify()
        given = read(start.path) if start.kind == "mesh" else None
        seen = reference(start) if start.kind == "picture" else None
    if job.paint_only:
        return Opening(needed(given), job.mesh.texture), Colouring(job, job.optimisation, guidance, texts)
    stages = Shape(job, guidance, texts, given, seen), Meshing(job.mesh, guidance.device)
    return (*stages, Colouring(job, job.painting, guidance, texts)) if job.painting else stages


def generate(job: Job, out: Path, resume: bool, listen: Listener = lambda status: None) -> Report:
    """Carry out `job` and write its results into `out`, whole or not at all.

    resume: go on from the checkpoints in `out`, if there are any. `listen` hears of every step and part; what it
    raises ends the job, which can be resumed. Raises UserError for what the user can mend.
    """
    prepare_folder(out)
    if job.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with trouble(out):
        job, found = keeping.begun(job, out, resume)
        desk = Desk(job.recipe(), out, found, listen)
        with desk.part("loading"):
            torch.set_num_threads(job.threads)
            guidance = load_guidance(job)
            texts = asked(job, guidance)
            guidance.drop_text_encoder()
            stages = stages_of(job, guidance, texts)
        work = Work()
        for stage in stages:
            work = stage.carry_out(work, desk)
        report = results.write(job, work, desk, guidance.device, out)
        keeping.clear(out)
    return report
