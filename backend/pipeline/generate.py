"""The way through the house: a job goes through its stages, and what they made becomes files."""

from pathlib import Path

import torch

from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.prompts import ViewPrompts
from backend.pipeline import keeping, results
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.job import Job
from backend.pipeline.meshing import Meshing
from backend.pipeline.remedies import trouble
from backend.pipeline.results import Report, prepare_folder
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Desk, Listener, Stage, Work

PARTS = ("loading", *Shape.parts, *Meshing.parts, "writing")
"""All that is announced, in this order."""


def stages_of(job: Job, guidance: DiffusionGuidance, texts: ViewPrompts) -> tuple[Stage, ...]:
    """The stages that `job` goes through, in this order."""
    return Shape(job, guidance, texts), Meshing(job.mesh, guidance.device)


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
        work = Work()
        for stage in stages_of(job, guidance, texts):
            work = stage.carry_out(work, desk)
        report = results.write(job, work, desk, guidance.device, out)
        keeping.clear(out)
    return report
