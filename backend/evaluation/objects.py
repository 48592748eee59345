"""Runs in 3D: a field is optimised, looked at from eight sides and measured; some are made meshes, too."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import Field
from backend.engine.finite import NonFiniteError
from backend.errors import UserError
from backend.evaluation import measures
from backend.evaluation.detail import BLURRED
from backend.evaluation.jury import Jury
from backend.evaluation.rows import Row
from backend.evaluation.runs import Run
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.prompts import ViewPrompts
from backend.mesh.asset import Asset
from backend.pipeline.asking import asked as asked_of
from backend.pipeline.generate import stages_of
from backend.pipeline.job import Job
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Desk, Stage, Work


def measured(
    job: Job, run: Run, guidance: DiffusionGuidance, jury: Jury, mesh: bool
) -> tuple[Row, Float[Tensor, "8 3 H W"]]:
    """Carry out a run, measure its result and show it. mesh: export it and measure that too, as "mesh_...".

    What is shown, and how the judge sees it, is of the field; of "parts", of the mesh, whose way seconds then are.
    """
    begun = time.monotonic()
    texts = asked_of(job, guidance)
    optimisation = Shape(job, guidance, texts).begin()
    try:
        for _ in optimisation.steps:
            pass
        failure = ""
    except NonFiniteError as error:  # before the step that would spoil the field: it is measured as it was
        failure = str(error)
    seconds = time.monotonic() - begun
    field = optimisation.shown()
    pictures, solid = measures.field_pictures(field, guidance.device), measures.solid(field, guidance.device)
    found = jury.of_object(pictures, solid.mesh if solid else None, job.prompt)
    cells = measures.packed(solid.cells) if solid else ""
    row = Row(run, found, round(seconds, 3), jury.features(pictures.textured), cells, failure)
    if not mesh:
        return row, pictures.textured
    begun = time.monotonic()
    asset, refused = _exported(job, field, guidance, texts)
    seconds += time.monotonic() - begun
    exported = measures.mesh_pictures(asset) if asset else measures.nothing_pictured()
    of_mesh = jury.of_mesh(exported, asset.mesh, job.prompt) if asset else _worst(found)
    told = {f"mesh_{name}": value for name, value in of_mesh.items()}
    row = replace(row, measures={**found, **told}, failure=failure or refused)
    if run.suite != "parts":
        return row, pictures.textured
    row = replace(row, seconds=round(seconds, 3), features=jury.features(exported.textured), cells="")
    return row, exported.textured


def _exported(job: Job, field: Field, guidance: DiffusionGuidance, texts: ViewPrompts) -> tuple[Asset | None, str]:
    """What the stages after the first make of the field, None where nothing is, and why they ended early, or ""."""
    with tempfile.TemporaryDirectory(prefix="object-") as folder:
        desk = Desk(job.recipe(), Path(folder), {}, lambda status: None)
        work, refused = as_far_as_possible(stages_of(job, guidance, texts)[1:], Work(field=field), desk)
    return work.asset, refused


def as_far_as_possible(stages: Sequence[Stage], work: Work, desk: Desk) -> tuple[Work, str]:
    """What the stages before the first one that is refused add to `work`, and why it was, or ""."""
    for stage in stages:
        try:
            work = stage.carry_out(work, desk)
        except UserError as error:
            return work, str(error)
    return work, ""


def _worst(of_field: Mapping[str, float]) -> dict[str, float]:
    """What a mesh scores that is not there, in what its field is measured by, and in detail beside true ones."""
    worst = {name: 0.0 for name in measures.OF_MESHES if name in of_field}
    if "colour" in worst:
        worst["colour"] = measures.NOTHING_SEEN
    return {**worst, "sharpness": BLURRED} if "f_score" in worst else worst
