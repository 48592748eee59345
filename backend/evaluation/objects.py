"""Runs in 3D: a field is optimised, looked at from eight sides and measured; some are made meshes, too."""

import time
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import Field
from backend.engine.finite import NonFiniteError
from backend.errors import UserError
from backend.evaluation import measures
from backend.evaluation.clip import Clip
from backend.evaluation.detail import BLURRED
from backend.evaluation.references import References
from backend.evaluation.rows import Row
from backend.evaluation.runs import Run
from backend.guidance.diffusion import DiffusionGuidance
from backend.mesh.build import build
from backend.pipeline.asking import asked as asked_of
from backend.pipeline.job import Job
from backend.pipeline.shape import Shape
from backend.prior.judge import Judge
from backend.prior.lexicon import Understanding


def measured(
    job: Job,
    run: Run,
    guidance: DiffusionGuidance,
    net: Judge,
    clip: Clip | None,
    references: References | None,
    mesh: bool,
) -> tuple[Row, Float[Tensor, "8 3 H W"]]:
    """Carry out a run, measure its result and show it. mesh: export it and measure that too, as "mesh_..."."""
    asked = net.lexicon.knows(job.prompt)
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
    pictures = measures.field_pictures(shown, guidance.device)
    solid = measures.solid(shown, guidance.device)
    found, features = measures.of_object(net, pictures, solid.mesh if solid else None, asked, references)
    if clip is not None:
        found["clip"] = clip.precision(pictures.textured, job.prompt)
    if mesh:
        found |= _of_mesh(job, shown, guidance.device, net, asked, references, found)
    cells = measures.packed(solid.cells) if solid else ""
    return Row(run, found, seconds, tuple(features.tolist()), cells, failure), pictures.textured


def _of_mesh(
    job: Job,
    field: Field,
    device: torch.device,
    net: Judge,
    asked: Understanding,
    references: References | None,
    of_field: Mapping[str, float],
) -> dict[str, float]:
    """What the exported mesh scores, "mesh_..." in rows; where there is no object, the worst of what its field has."""
    try:
        asset, _ = build(field, job.mesh, device, lambda stage: nullcontext())
    except UserError:
        worst = dict.fromkeys(measures.OF_MESHES, 0.0) | {"colour": measures.NOTHING_SEEN, "sharpness": BLURRED}
        found = {name: value for name, value in worst.items() if name in of_field}
    else:
        found = measures.of_mesh(asset, net, asked, references)
    return {f"mesh_{name}": value for name, value in found.items()}
