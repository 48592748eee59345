"""What a job leaves in its folder: the mesh, its pictures, and a report on both."""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from backend.errors import DiskFullError, UnwritableError
from backend.files import FREE_BYTES_NEEDED, write_whole
from backend.machine import peak_gpu_memory, peak_memory
from backend.mesh import fidelity, pictures
from backend.mesh.asset import Asset
from backend.mesh.fidelity import Fidelity
from backend.mesh.glb import read_glb, write_glb
from backend.pipeline.job import Job
from backend.pipeline.stages import Desk, Work, needed
from shared.names import named

MESH, PREVIEW, TURNTABLE, REPORT = "mesh.glb", "preview.png", "turntable.gif", "report.json"


@dataclass(frozen=True)
class Report:
    """What came out of a job, and how: `report.json`.

    seconds: per part of a stage. step_seconds: of a step after the first, where a part has some. losses: the terms of
    the last step. remedies: see `Remedies`. notes: sentences for the artist, what did not go as planned. peak_memory:
    bytes, of the process; peak_gpu_memory: of the job, on the GPU, or None where it used none.
    """

    recipe: dict[str, Any]
    seconds: dict[str, float]
    step_seconds: dict[str, float]
    iterations: int
    losses: dict[str, float]
    remedies: dict[str, Any]
    notes: list[str]
    faces: int
    watertight: bool
    components: int
    degenerate: int
    psnr: float
    silhouette_iou: float
    peak_memory: int
    peak_gpu_memory: int | None


def prepare_folder(out: Path) -> None:
    """Make `out`, and see that a job's files can be written there. Raises UserError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise UnwritableError(f"cannot write into {out} ({error.strerror}); name another folder with --out") from error
    if free < FREE_BYTES_NEEDED:
        raise DiskFullError(
            f"the disk of {out} has {free >> 20} MiB left and {FREE_BYTES_NEEDED >> 20} are needed; "
            "make room or name another folder with --out"
        )


def write(job: Job, work: Work, desk: Desk, device: torch.device, out: Path) -> Report:
    """Write what `work` has come to into `out`, and measure the mesh as it is in the file."""
    # The report comes last and goes first: where it is, everything is there and belongs together.
    (out / REPORT).unlink(missing_ok=True)
    with desk.part("writing"):
        write_glb(needed(work.asset), out / MESH, named(job.prompt), job.recipe())
        asset, recipe = read_glb(out / MESH)
        if work.placement:
            asset = work.placement.inwards(asset)
        pictures.write_preview(asset, out / PREVIEW)
        pictures.write_turntable(asset, out / TURNTABLE)
        likeness = _likeness(asset, work, device)
        shape = fidelity.topology(asset.mesh)
    report = Report(
        recipe=recipe,
        seconds=desk.seconds,
        step_seconds={part: round(seconds, 6) for part, seconds in desk.step_seconds.items()},
        iterations=job.optimisation.steps,
        losses=desk.losses,
        remedies=asdict(desk.remedies),
        notes=[*desk.remedies.notes(), *work.notes],
        faces=shape.faces,
        watertight=shape.watertight,
        components=shape.components,
        degenerate=shape.degenerate,
        psnr=round(min(likeness.psnr, fidelity.LIKE_ENOUGH), 3),
        silhouette_iou=likeness.silhouette_iou,
        peak_memory=peak_memory(),
        peak_gpu_memory=peak_gpu_memory() if job.device == "cuda" else None,
    )
    write_whole(out / REPORT, (json.dumps(asdict(report), indent=2) + "\n").encode())
    return report


def _likeness(asset: Asset, work: Work, device: torch.device) -> Fidelity:
    """How close the mesh, inside the unit sphere, comes to its field, and in its colours to what was painted on it."""
    if work.painting is None:
        return fidelity.to_field(asset, needed(work.field), device)
    painted = fidelity.to_painting(asset, work.painting, device)
    return replace(fidelity.to_field(asset, work.field, device), psnr=painted.psnr) if work.field else painted
