"""Runs in 2D: the pixels themselves are optimised, one image from one view, as the paper begins.

No camera, light or field stands between guidance and image, so what a schedule does shows by itself.
Letters: B images, H x W pixels.
"""

import time
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine import distillation, schedules
from backend.engine.cameras import ring
from backend.engine.randomness import generator
from backend.engine.rules.choice import rule
from backend.engine.rules.step import Step
from backend.evaluation.jury import Jury
from backend.evaluation.rows import Row
from backend.evaluation.runs import Run
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.interface import Wishes
from backend.guidance.views import Views
from backend.pipeline.asking import told
from backend.pipeline.job import Job

LEARNING_RATE = 0.05
"""Adam's, for display values in [0, 1]. At 60 steps and ten prompts, of 0.02, 0.05 and 0.1 the only one with which both
uniform and time_prior get all right."""

_ELEVATION = 15.0


def optimised(job: Job, guidance: DiffusionGuidance) -> tuple[Float[Tensor, "1 3 H W"], str]:
    """An image in [0, 1] for the job's prompt and seed, optimised from near grey, and why that ended early, or "".

    It ends before the step that would spoil the image.
    """
    failure = ""
    settings, device = job.optimisation, guidance.device
    asked, views = wishes(guidance, told(job, job.prompt), 1), from_the_front(guidance, 1)
    schedule = schedules.make(
        settings.schedule,
        guidance.abar,
        settings.steps,
        guidance.schedule_size,
        settings.time_prior,
        settings.time_prior_ddpm,
    )
    start = torch.randn(1, 3, guidance.size, guidance.size, generator=generator(job.seed, 0, "image"))
    image = (0.5 + 0.05 * start).to(device).requires_grad_()
    optimiser = torch.optim.Adam([image], lr=LEARNING_RATE, betas=(0.9, 0.99), eps=1e-15)
    for step in range(settings.steps):
        draws = partial(generator, job.seed, step, device=device)
        t = schedule.timestep(step, draws("timestep"))
        clean = guidance.model_space(image)
        noise = torch.randn(clean.shape, generator=draws("noise"), device=device)
        seen = Step(guidance, clean.detach(), noise, t, asked, views, settings.cfg, draws)
        wanted = distillation.gradient(seen, rule(settings.rule, step / settings.steps), settings.weight)
        if not wanted.isfinite().all():
            failure = f"the gradient is not finite at step {step}"
            break
        optimiser.zero_grad()
        distillation.surrogate(clean, wanted).backward()
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * settings.final_rate ** (step / settings.steps)
        optimiser.step()
    return image.detach().clamp(0, 1).cpu(), failure


def wishes(guidance: DiffusionGuidance, prompt: str, count: int) -> Wishes:
    """The plain prompt, for `count` images."""
    positive, negative = guidance.encode([prompt, ""]).split(1)
    return Wishes(positive.expand(count, -1, -1), negative.expand(count, -1, -1))


def from_the_front(guidance: DiffusionGuidance, count: int) -> Views:
    """What a model that wants to know is told of such images: they show the front, unlit."""
    return Views.unlit(ring(1, _ELEVATION).tiled(count).to(guidance.device))


def measured(job: Job, run: Run, guidance: DiffusionGuidance, jury: Jury) -> tuple[Row, Float[Tensor, "1 3 H W"]]:
    """Carry out a run, measure its image and show it."""
    begun = time.monotonic()
    image, failure = optimised(job, guidance)
    seconds = round(time.monotonic() - begun, 3)
    return Row(run, jury.of_image(image, job.prompt), seconds, jury.features(image), failure=failure), image
