"""Runs in 3D: a field is optimised, looked at from eight sides and measured; some are made meshes, too."""

import tempfile
import time
from collections.abc import Mapping
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
from backend.pipeline.stages import Desk, Work, needed


def measured(
    job: Job, run: Run, guidance: DiffusionGuidance, jury: Jury, mesh: bool
) -> tuple[Row, Float[Tensor, "8 3 H W"]]:
    """Carry out a run, measure its result and show it. mesh: export it and measure that too, as "mesh_...".

    Shown is the field, or, if it was painted, the mesh.
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
    seconds = round(time.monotonic() - begun, 3)
    field = optimisation.shown()
    pictures, solid = measures.field_pictures(field, guidance.device), measures.solid(field, guidance.device)
    found = jury.of_object(pictures, solid.mesh if solid else None, job.prompt)
    cells = measures.packed(solid.cells) if solid else ""
    row = Row(run, found, seconds, jury.features(pictures.textured), cells, failure)
    if not mesh:
        return row, pictures.textured
    asset = _exported(job, field, guidance, texts)
    if asset is None:
        return _with_mesh(row, _worst(found)), pictures.textured
    exported = measures.mesh_pictures(asset)
    shown = exported if job.painting else pictures
    return _with_mesh(row, jury.of_object(exported, asset.mesh, job.prompt)), shown.textured


def _exported(job: Job, field: Field, guidance: DiffusionGuidance, texts: ViewPrompts) -> Asset | None:
    """What the stages after the first make of the field; None where there is no object."""
    work = Work(field=field)
    with tempfile.TemporaryDirectory(prefix="object-") as folder:
        desk = Desk(job.recipe(), Path(folder), {}, lambda status: None)
        try:
            for stage in stages_of(job, guidance, texts)[1:]:
                work = stage.carry_out(work, desk)
        except UserError:
            return None
    return needed(work.asset)


def _worst(of_field: Mapping[str, float]) -> dict[str, float]:
    """What a mesh scores that is not there, in what its field is measured by."""
    worst = dict.fromkeys(measures.OF_MESHES, 0.0) | {"colour": measures.NOTHING_SEEN, "sharpness": BLURRED}
    return {name: value for name, value in worst.items() if name in of_field}


def _with_mesh(row: Row, of_mesh: Mapping[str, float]) -> Row:
    told = {f"mesh_{name}": value for name, value in of_mesh.items() if name in measures.OF_MESHES}
    return replace(row, measures={**row.measures, **told})
