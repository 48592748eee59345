"""The model that a job asks, and what it asks of it."""

import torch

from backend.engine.rules import bridge
from backend.guidance import loading, prompts
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.interface import Guidance
from backend.guidance.prompts import ViewPrompts
from backend.pipeline.job import Job
from backend.prior import words


def load_guidance(job: Job) -> DiffusionGuidance:
    """The model that `job` asks for, where and how it asks for it."""
    return loading.load(job.model.folder, torch.device(job.device), job.precision, job.latent_field)


def told(job: Job, text: str) -> str:
    """`text` in words that the job's model was taught, as far as it was taught words of its own."""
    known = words.of(job.model.folder)
    return known.told(text) if known else text


def asked(job: Job, guidance: Guidance) -> ViewPrompts:
    """What `job` asks for, as `guidance` understands it."""
    prompt, negative = (told(job, text) for text in (job.prompt, job.negative))
    avoid = prompts.PerpNeg() if job.perp_neg else None
    contrast = (bridge.BETTER, bridge.WORSE) if job.optimisation.rule == "bridge" else None
    return prompts.encode(guidance, prompt, negative, job.view_mode, avoid, contrast)
