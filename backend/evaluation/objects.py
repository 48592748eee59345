"""Runs in 3D: a field is optimised, looked at from eight sides and measured; some are made meshes, too."""

import time
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import Field
from backend.engine.finite import NonFiniteError
from backend.errors import UserError
from backend.evaluation import measures
from backend.evaluation.clip import Clip
from backend.evaluation.rows import Row
from backend.evaluation.runs import Run
from backend.guidance.diffusion import DiffusionGuidance
from backend.mesh.build import build
from backend.pipeline.asking import asked as asked_of
from backend.pipeline.job import Job
from backend.pipeline.shape import Shape
from backend.prior.captions import Subject
from backend.prior.judge import Judge
from backend.prior.shapes import SHAPES

WITH_FRONT = frozenset(shape.name for shape in SHAPES if shape.has_front)


def measured(
    job: Job, run: Run, guidance: DiffusionGuidance, net: Judge, clip: Clip | None, mesh: bool
) -> tuple[Row, Float[Tensor, "8 3 H W"]]:
    """Carry out a run, measure its result and show it. mesh: export it and measure that too, as "mesh_..."."""
    asked = net.vocabulary.knows(job.prompt).subject
    begun = time.monotonic()
    optimisation = Shape(job, guidance, asked_of(job, guidance)).begin()
    try:
        for _ in optimisation.steps:
            pass
        failure = ""
    except NonFiniteError as error:  # before the step that would spoil the field: it is measured as it was
        failure = str(error)
    seconds = round(time.monotonic() - begun, 3)
    shown = optimisation.shown()
    textured, grey = measures.field_pictures(shown, guidance.device)
    judged = measures.judged(net, textured, asked)
    found = {**judged.measures, "grey": measures.right_grey(net, grey, asked)}
    if asked.shape in WITH_FRONT:
        found["janus"] = measures.janus(net, textured)
    if clip is not None:
        found["clip"] = clip.precision(textured, job.prompt)
    solid = measures.solid(shown, guidance.device)
    scores = measures.best_f_scores(solid.mesh, asked.shape) if solid else (0.0, 0.0)
    found |= zip(measures.F_SCORES, scores, strict=True)
    if mesh:
        found |= _of_mesh(job, shown, guidance.device, net, asked)
    cells = measures.packed(solid.cells) if solid else ""
    return Row(run, found, seconds, tuple(judged.features.tolist()), cells, failure), textured


def _of_mesh(job: Job, field: Field, device: torch.device, net: Judge, asked: Subject) -> dict[str, float]:
    """What the exported mesh scores, "mesh_..." in rows."""
    try:
        asset, _ = build(field, job.mesh, device, lambda stage: nullcontext())
    except UserError:  # there is no object in the field
        return dict.fromkeys((f"mesh_{name}" for name in measures.OF_MESHES), 0.0)
    return {f"mesh_{name}": value for name, value in measures.of_mesh(asset, net, asked).items()}
