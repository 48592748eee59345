"""The way through the house: a job becomes a field, then a mesh, then files.

Letters: V views.
"""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.engine.cameras import ring
from backend.engine.fields import Field, TrainableField, VoxelField
from backend.engine.finite import NonFiniteError
from backend.engine.hashgrid import HashGridField
from backend.engine.occupancy import Occupancy
from backend.engine.optimise import Progress, Resumption, optimise
from backend.engine.randomness import generator
from backend.engine.rendering import render
from backend.engine.rules import bridge
from backend.engine.rules.choice import by_view
from backend.engine.tcnn_hashgrid import missing, tcnn_hash_grid_field
from backend.errors import DiskFullError, NotFiniteError, OtherRunError, OutOfMemoryError, UnwritableError, UserError
from backend.files import FREE_BYTES_NEEDED, is_full, write_whole
from backend.guidance import loading, memory, prompts
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.interface import Guidance
from backend.guidance.prompts import ViewPrompts
from backend.job import Job
from backend.latents import displayed
from backend.machine import free_memory, peak_gpu_memory, peak_memory
from backend.mesh import fidelity, pictures, raycast
from backend.mesh.asset import Asset
from backend.mesh.build import MeshStage, build
from backend.mesh.glb import read_glb, write_glb
from shared.names import named

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 10.0

MESH, PREVIEW, TURNTABLE, REPORT = "mesh.glb", "preview.png", "turntable.gif", "report.json"
CHECKPOINTS = ".dreamtime"
"""Where a job in progress keeps its checkpoints, within its folder."""

_FIDELITY_PIXELS = 256
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
_LIKE_ENOUGH = 99.0  # equal pictures have an infinite PSNR, which JSON has no word for

Stage = Literal["loading", "optimising", MeshStage, "writing"]
STAGES: tuple[str, ...] = ("loading", "optimising", *get_args(MeshStage), "writing")


@dataclass(frozen=True)
class Status:
    """Where a job is. progress: of the optimisation, while that is the stage.

    shown: the field as it is when called, in display colours; call it before the next step.
    """

    stage: str
    progress: Progress | None = None
    shown: Callable[[], Field] | None = None


@dataclass(frozen=True)
class Remedies:
    """What helped an optimisation that could not go on as planned.

    views_at_once: how many views are taken at a time, as there is little memory from the start, or from the last
    checkpoint before it ran out; None for all. left_out: views that had no part in their steps because their numbers
    were not finite.
    """

    views_at_once: int | None = None
    left_out: int = 0

    def notes(self) -> list[str]:
        """A sentence for the artist for each."""
        notes = []
        if self.views_at_once is not None:
            notes.append(
                f"there was too little memory for all views of a step: the model saw views {self.views_at_once} at a "
                "time, which takes longer"
            )
        if self.left_out:
            notes.append(f"views left out because their numbers were not finite: {self.left_out}")
        return notes


@dataclass(frozen=True)
class Report:
    """What came out of a job, and how: `report.json`.

    seconds: per stage. losses: the terms of the last step. remedies: see `Remedies`. notes: sentences for the
    artist, what did not go as planned. peak_memory: bytes, of the process; peak_gpu_memory: of the job, on the GPU, or
    None where it used none.
    """

    recipe: dict[str, Any]
    seconds: dict[str, float]
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


def generate(job: Job, out: Path, resume: bool, listen: Callable[[Status], None] = lambda status: None) -> Report:
    """Carry out `job` and write its results into `out`, whole or not at all.

    resume: go on from the checkpoint in `out`, if one is there. `listen` hears of every step and stage; what it
    raises ends the job, which can be resumed. Raises UserError for what the user can mend.
    """
    prepare_folder(out)
    if job.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    clock = _Clock(listen)
    with trouble(out):
        with clock.stage("loading"):
            job, start = _start(job, out, resume)
            torch.set_num_threads(job.threads)
            guidance = load_guidance(job)
            texts = asked(job, guidance)
            guidance.drop_text_encoder()
        with clock.stage("optimising"):
            field, losses, remedies = _optimised(job, guidance, texts, out, start, listen)
        shown = displayed(field, guidance)
        asset, notes = build(shown, job.mesh, guidance.device, clock.stage)
        # The report comes last and goes first: where it is, everything is there and belongs together.
        (out / REPORT).unlink(missing_ok=True)
        with clock.stage("writing"):
            report = _written(job, asset, shown, guidance.device, out)
        whole = replace(
            report,
            seconds=clock.seconds,
            losses=losses,
            remedies=asdict(remedies),
            notes=remedies.notes() + notes,
            peak_memory=peak_memory(),
            peak_gpu_memory=peak_gpu_memory() if job.device == "cuda" else None,
        )
        write_whole(out / REPORT, (json.dumps(asdict(whole), indent=2) + "\n").encode())
        checkpoints.clear(out / CHECKPOINTS)
    return whole


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


def load_guidance(job: Job) -> DiffusionGuidance:
    """The model that `job` asks for, where and how it asks for it."""
    return loading.load(job.model.folder, torch.device(job.device), job.precision, job.latent_field)


def asked(job: Job, guidance: Guidance) -> ViewPrompts:
    """What `job` asks for, as `guidance` understands it."""
    avoid = prompts.PerpNeg() if job.perp_neg else None
    contrast = (bridge.BETTER, bridge.WORSE) if job.optimisation.rule == "bridge" else None
    return prompts.encode(guidance, job.prompt, job.negative, job.view_mode, avoid, contrast, job.above)


def make_field(job: Job, channels: int, device: torch.device) -> TrainableField:
    """The field of `job` as it is before the first step."""
    if job.field == "voxel":
        return VoxelField(channels).to(device)
    draws = generator(job.seed, 0, "field", device)
    if device.type == "cuda" and missing() is None:
        return tcnn_hash_grid_field(draws, channels)
    return HashGridField(draws, channels)


def _start(job: Job, out: Path, resume: bool) -> tuple[Job, Checkpoint | None]:
    """The job in the precision and with the threads it was begun with, and the checkpoint to go on from."""
    if not resume:
        checkpoints.clear(out / CHECKPOINTS)
        return job, None
    found = checkpoints.newest(out / CHECKPOINTS)
    if found is None:
        logger.warning("no checkpoint in %s: starting from the beginning", out)
        return job, None
    theirs = found.facts["recipe"]
    job = job.with_numerics_of(theirs)
    ours = json.loads(json.dumps(job.recipe()))
    if ours["versions"] != theirs["versions"] or _shape(ours) != _shape(theirs):
        raise OtherRunError(f"the run in {out} was started with other versions of the program; leave out --resume")
    if ours != theirs:
        differing = ", ".join(sorted(_differences(ours, theirs)))
        raise OtherRunError(
            f"the run in {out} was started with other settings ({differing}); "
            "repeat them, or leave out --resume to start anew"
        )
    return job, found


def _shape(recipe: Any) -> Any:
    """What a recipe tells of, without what it says."""
    return {name: _shape(value) for name, value in recipe.items()} if isinstance(recipe, dict) else None


def _differences(ours: Any, theirs: Any, name: str = "") -> Iterator[str]:
    """What differs between two recipes: "steps (180, now 60)"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            yield from _differences(ours.get(key), theirs.get(key), key)
    elif ours != theirs:
        yield f"{name} ({theirs}, now {ours})"


def _optimised(
    job: Job,
    guidance: DiffusionGuidance,
    texts: ViewPrompts,
    out: Path,
    start: Checkpoint | None,
    listen: Callable[[Status], None],
) -> tuple[TrainableField, dict[str, float], Remedies]:
    """The optimised field, the losses of the last step, and what was needed for it to end."""
    remedies = Remedies(**start.facts["remedies"]) if start else Remedies(_fitting_views(job, guidance))
    while True:
        field = make_field(job, guidance.channels, guidance.device)
        steps = _steps(job, field, guidance, texts, remedies, start)
        try:
            last = _followed(steps, partial(displayed, field, guidance), out, job.recipe(), remedies, listen)
        except NonFiniteError as error:
            raise NotFiniteError(f"{error}; try another seed or a lower cfg") from error
        except (MemoryError, RuntimeError) as error:
            at_once = _fewer_views(error, remedies.views_at_once or job.optimisation.views)
        else:
            if last is None:  # all steps were done before
                return field, start.facts["losses"] if start else {}, remedies
            return field, last.losses, replace(remedies, left_out=last.left_out)
        # What held the memory of the failed step is gone only now that the error is.
        del steps, field
        torch.cuda.empty_cache()
        start = checkpoints.newest(out / CHECKPOINTS)
        remedies = replace(Remedies(**start.facts["remedies"]) if start else Remedies(), views_at_once=at_once)
        if start:  # a run that is killed now must not meet the same shortage again
            start = replace(start, facts={**start.facts, "remedies": asdict(remedies)})
            checkpoints.write(out / CHECKPOINTS, start)


def _fitting_views(job: Job, guidance: DiffusionGuidance) -> int | None:
    """How many views of a step fit into the free memory at a time, or None if all do."""
    settings, predictions = job.optimisation, 4 if job.perp_neg else 2
    needs = memory.needs(job.field, guidance.size, settings.spacing, *guidance.view_bytes(predictions))
    together = settings.joint_views if by_view(settings.rule, 1.0) else settings.views
    free = free_memory(guidance.device)
    fitting = needs.views_at_once(free, settings.views, together)
    if fitting is not None:
        logger.warning("%d MiB of memory are free: taking views %d at a time", free >> 20, fitting)
    return fitting


def _steps(
    job: Job,
    field: TrainableField,
    guidance: DiffusionGuidance,
    texts: ViewPrompts,
    remedies: Remedies,
    start: Checkpoint | None,
) -> Iterator[Progress]:
    """The steps of the job from `start` on, with `remedies`."""
    if remedies.views_at_once is not None:
        guidance = guidance.lean(remedies.views_at_once)
    resumption = Resumption(start.step, start.tensors) if start else None
    return optimise(field, guidance, texts, job.optimisation, job.seed, resumption, remedies.views_at_once)


def _fewer_views(error: Exception, views: int) -> int:
    """Half of `views`, to be shown to the model at a time after `error`. Raises it again if that cannot help."""
    if views == 1 or not out_of_memory(error):
        raise error
    logger.warning("memory ran out: going on from the last checkpoint with %d views at a time", views // 2)
    return views // 2


def _followed(
    steps: Iterator[Progress],
    shown: Callable[[], Field],
    out: Path,
    recipe: dict[str, Any],
    remedies: Remedies,
    listen: Callable[[Status], None],
) -> Progress | None:
    """Go through `steps`, keeping a checkpoint every CHECKPOINT_SECONDS and at the end; returns the last step."""
    kept_at, last = time.monotonic(), None
    for progress in steps:
        last = progress
        listen(Status("optimising", progress, shown))
        if progress.step == progress.steps or time.monotonic() - kept_at >= CHECKPOINT_SECONDS:
            so_far = asdict(replace(remedies, left_out=progress.left_out))
            facts = {"recipe": recipe, "remedies": so_far, "losses": progress.losses}
            checkpoints.write(out / CHECKPOINTS, Checkpoint(progress.step, progress.state(), facts))
            kept_at = time.monotonic()
    return last


def _written(job: Job, asset: Asset, field: Field, device: torch.device, out: Path) -> Report:
    """Write the mesh and its pictures, and measure the mesh as it is in the file."""
    write_glb(asset, out / MESH, named(job.prompt), job.recipe())
    written, recipe = read_glb(out / MESH)
    pictures.write_preview(written, out / PREVIEW)
    pictures.write_turntable(written, out / TURNTABLE)
    likeness = compared(field, written, device)
    shape = fidelity.topology(written.mesh)
    return Report(
        recipe=recipe,
        seconds={},
        iterations=job.optimisation.steps,
        losses={},
        remedies={},
        notes=[],
        faces=shape.faces,
        watertight=shape.watertight,
        components=shape.components,
        degenerate=shape.degenerate,
        psnr=round(min(likeness.psnr, _LIKE_ENOUGH), 3),
        silhouette_iou=likeness.silhouette_iou,
        peak_memory=0,
        peak_gpu_memory=None,
    )


def compared(field: Field, asset: Asset, device: torch.device) -> fidelity.Fidelity:
    """The mesh against the field's own renders, from eight sides."""
    cameras = ring(8, elevation_degrees=20)
    occupancy = Occupancy.of(field, 64, 0.1, device)
    with torch.no_grad():  # one view at a time: the samples of all of them are gigabytes
        views = [
            render(field, camera.to(device), _FIDELITY_PIXELS, occupancy, step=0.02)
            for camera in raycast.one_by_one(cameras)
        ]
    shown = _Views(torch.cat([view.colour for view in views]).cpu(), torch.cat([view.opacity for view in views]).cpu())
    return fidelity.compare(shown, raycast.render(asset, cameras, _FIDELITY_PIXELS))


@dataclass(frozen=True)
class _Views:
    """Pictures of a field, as `fidelity.compare` wants them."""

    colour: Float[Tensor, "B 3 H W"]
    opacity: Float[Tensor, "B H W"]


class _Clock:
    """Times stages and announces them."""

    def __init__(self, listen: Callable[[Status], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._listen = listen

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._listen(Status(name))
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 3)


@contextmanager
def trouble(out: Path) -> Iterator[None]:
    """Say in one line that the disk is full or the memory is. What was whole before stays."""
    try:
        yield
    except OSError as error:
        kind = DiskFullError if is_full(error) else UnwritableError
        raise kind(
            f"cannot write into {out} ({error.strerror or error}); make room there, then use --resume"
        ) from error
    except (UserError, MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError):
            raise OutOfMemoryError(
                "the GPU has too little memory for this job; close other programs and use --resume, or use --device cpu"
            ) from error
        raise OutOfMemoryError(
            "there is too little memory for this job; close other programs and use --resume, or lower --texture"
        ) from error


def out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, says that memory ran out. torch has a type for that on GPUs only."""
    if error is None:
        return False
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    said = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
    return known or said or out_of_memory(error.__cause__)
