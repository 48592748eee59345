"""The engine as a worker uses it: tasks in, files and previews out. Only the worker's process imports this: torch."""

import json
import logging
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from backend import machine
from backend.engine import schedules
from backend.engine.fields import Field
from backend.engine.names import SCHEDULES
from backend.errors import DiskFullError, NotFiniteError, OtherRunError, OutOfMemoryError, UnwritableError, UserError
from backend.files import is_full, sha256, to_disk
from backend.guidance import library
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.speed import flops_per_second
from backend.pipeline import estimate, speeds
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.generate import generate, parts_of, steps_of
from backend.pipeline.job import Job, planned
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.pace import Pace
from backend.pipeline.remedies import out_of_memory
from backend.pipeline.request import Request
from backend.pipeline.results import MESH, PREVIEW, REPORT, TURNTABLE
from backend.pipeline.shape import OPTIMISING, Shape
from backend.pipeline.stages import Status
from backend.service import previews, starts
from backend.service.executor import Result
from backend.service.offer import checked
from backend.service.remaining import USUAL_SECONDS, Remaining
from backend.service.worker import Listener, Standing, TaskError
from shared.jobs import Generation
from shared.offer import POINTS
from shared.records import from_json

logger = logging.getLogger(__name__)

OUT = "out"
"""Where in a task's folder the files are written."""

FILES = (MESH, PREVIEW, TURNTABLE, REPORT)

_WARM_PROMPT, _WARM_STEPS = "a red mug", 4

_TYPED_ALONE = re.compile(r",? or [^;,]*--(?:level|mask)\b[^;,]*|,? or name a second picture, [^;]*--mask")
"""Remedies that the panel does not have."""

_CODES: dict[type[UserError], str] = {
    DiskFullError: "disk_full",
    UnwritableError: "unwritable",
    NotFiniteError: "not_finite",
}

_SENTENCES = {
    "disk_full": "the backend's disk has too little room for this job",
    "unwritable": "the backend cannot write into its own folder",
}
"""Instead of what names a folder of this machine, which is for its own log alone."""


class TorchEngine:
    """See `worker.Engine`."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()
        self._per_step: float | None = None
        self._rate: float | None = None
        self._took: dict[tuple[Any, ...], _Took] = {}

    def warm_up(self, device: str) -> dict[str, Any]:
        """Take a few steps with the built-in model and look at what they made.

        Facts: "device", what it is in words; "seconds_per_step", of the built-in model; "flops_per_second", of the
        arithmetic of large ones; "curves", the timesteps of schedules, to be drawn; "warm_up_seconds".
        """
        begun = time.perf_counter()
        job, _ = planned(Request(_WARM_PROMPT, device=_kind(device)))
        guidance = load_guidance(job)
        optimisation = Shape(job, guidance, asked(job, guidance)).begin()
        seconds = []
        for _ in range(_WARM_STEPS):
            before = time.perf_counter()
            next(optimisation.steps)
            seconds.append(time.perf_counter() - before)
        self._per_step = statistics.median(seconds[1:])
        self._rate = flops_per_second(guidance.device, job.precision)
        field = optimisation.shown()
        previews.picture(field, guidance.device)
        previews.coarse_mesh(field, guidance.device)
        return {
            "device": machine.named(job.device),
            "seconds_per_step": round(self._per_step, 4),
            "flops_per_second": round(self._rate),
            "curves": _curves(guidance),
            "warm_up_seconds": round(time.perf_counter() - begun, 3),
        }

    def carry_out(
        self, request: dict[str, Any], folder: Path, device: str, listen: Listener, given: Path | None = None
    ) -> tuple[tuple[Result, ...], dict[str, Any]]:
        """See `worker.Engine`. The report is `results.Report`'s fields."""
        torch.set_num_threads(self._threads)  # a resumed job may have set another number
        try:
            asked_for = _request(request, device, given, folder)
            job, _ = planned(asked_for)
        except UserError as error:
            raise TaskError("bad_request", _for_artists(error)) from error
        except OSError as error:
            code = "disk_full" if is_full(error) else "unwritable"
            raise TaskError(code, f"what it begins from cannot be made ready ({error.strerror})") from error
        out = folder / OUT
        usual = speeds.usual(asked_for)
        remaining = self._remaining(job, usual)
        reporter = _Reporter(job, remaining, listen)
        try:
            report = _finished(job, out) or _made(job, out, reporter)
            results = tuple(_result(out / name) for name in FILES)
            to_disk(out)
        except OutOfMemoryError as error:
            raise TaskError("out_of_memory", _too_large(job, reporter.part), spent=True) from error
        except UserError as error:
            code = _CODES.get(type(error), "no_result")
            raise TaskError(code, _SENTENCES.get(code) or _for_artists(error)) from error
        except OSError as error:
            code = "disk_full" if is_full(error) else "unwritable"
            raise TaskError(code, f"the results cannot be read back ({error.strerror})") from error
        seconds = {part: report["seconds"].get(part, 0.0) for part in _between(job)}
        self._took[_sort(job)] = _Took(seconds, remaining.pace)
        if usual and (took := report.get("step_seconds", {}).get(OPTIMISING)):
            speeds.remember(machine.named(job.device), job.model.name, job.preset, took)
        return results, report

    def _remaining(self, job: Job, usual: bool) -> Remaining:
        """usual: whether its steps take as long as its preset's do."""
        expected = self._expected_step(job, usual)
        fresh = _Took(USUAL_SECONDS[job.preset], {} if expected is None else {OPTIMISING: expected})
        took = self._took.get(_sort(job), fresh)
        return Remaining(parts_of(job), steps_of(job), took.seconds, took.pace)

    def _expected_step(self, job: Job, usual: bool) -> float | None:
        """Seconds of a step before any was seen."""
        if job.model.name == library.BUILTIN:
            return self._per_step
        if not usual:
            return None
        took = speeds.known(machine.named(job.device)).get((job.model.name, job.preset))
        if took or self._rate is None:
            return took
        work = estimate.work_of_step(job.model.folder, job.optimisation.views, job.perp_neg)
        return None if work is None else work / self._rate


@dataclass(frozen=True)
class _Took:
    """What jobs of one sort take. seconds: of parts without steps. pace: seconds of a step, of the others."""

    seconds: Mapping[str, float]
    pace: Mapping[str, float]


def _between(job: Job) -> tuple[str, ...]:
    """Parts without a report in between, after the model is loaded.

    They are this program's own work on numbers and files of its own, which may be broken off anywhere; libraries that
    load a model keep state that may not.
    """
    stepped = steps_of(job)
    return tuple(part for part in parts_of(job)[1:] if part not in stepped)


class _Reporter:
    """Turns what `generate` tells into what the worker tells, with previews now and then."""

    def __init__(self, job: Job, remaining: Remaining, listen: Listener) -> None:
        self.part = ""
        self._device = torch.device(job.device)
        self._between = _between(job)
        self._remaining = remaining
        self._listen = listen
        self._pace = Pace(previews.SHARE, previews.LEAST_SECONDS)

    def __call__(self, status: Status) -> None:
        self.part = status.part
        progress, now = status.progress, time.monotonic()
        if progress is None:
            eta = self._remaining.at_part(status.part)
            self._listen(Standing(status.part, eta=eta, interruptible=status.part in self._between))
            return
        eta = self._remaining.at_step(status.part, progress.step, now)
        picture, mesh = b"", b""
        if status.shown and (self._pace.due(now) or progress.step == progress.steps):
            picture, mesh = self._previews(status.shown)
        self._listen(Standing(status.part, progress.step, progress.steps, progress.t, eta, picture, mesh))

    def _previews(self, shown: Callable[[], Field]) -> tuple[bytes, bytes]:
        """A picture and a coarse mesh, or nothing: for want of memory for them no job has to end."""
        begun = time.monotonic()
        try:
            field = shown()
            return previews.picture(field, self._device), previews.coarse_mesh(field, self._device)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            logger.warning("there is too little memory for a preview")
            torch.cuda.empty_cache()
            return b"", b""
        finally:
            self._pace.made(begun, time.monotonic())


def _curves(guidance: DiffusionGuidance) -> dict[str, list[int]]:
    """The timesteps of the schedules that do not draw lots, at POINTS places."""
    made = (schedules.make(name, guidance.abar, POINTS, guidance.schedule_size) for name in SCHEDULES)
    return {table.name: list(table.timesteps) for table in made if isinstance(table, schedules.Table)}


def _kind(device: str) -> str:
    """ "cuda" for "cuda:1": the process of a GPU sees that one alone."""
    return device.partition(":")[0]


def _request(values: dict[str, Any], device: str, given: Path | None, folder: Path) -> Request:
    """The request that JSON-compatible `values` stand for, its start, which is `given`, made ready in `folder`.

    Raises UserError if it cannot be done here, any more, OSError if files cannot be read or written.
    """
    try:
        asked = from_json(Generation, values)
    except ValueError as error:
        raise UserError(f"the request cannot be read ({error})") from error
    request, _ = checked(asked, library.usable())
    request = replace(request, device=_kind(device))
    if asked.start is None or given is None:
        return request
    start, mask = starts.prepared(asked.start, given, folder)
    return replace(request, start=start, mask=mask)


def _finished(job: Job, out: Path) -> dict[str, Any] | None:
    """The report in `out`, if it tells of this very job: then everything is there."""
    try:
        report: dict[str, Any] = json.loads((out / REPORT).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return report if report["recipe"] == json.loads(json.dumps(job.recipe())) else None


def _made(job: Job, out: Path, reporter: _Reporter) -> dict[str, Any]:
    """The report of the job, gone on with or begun anew."""
    try:
        return asdict(generate(job, out, (out / CHECKPOINTS).is_dir(), reporter))
    except OtherRunError as error:
        logger.warning("%s; starting anew", error)
        return asdict(generate(job, out, False, reporter))


def _result(path: Path) -> Result:
    return Result(path.name, path, sha256(path), path.stat().st_size)


def _sort(job: Job) -> tuple[Any, ...]:
    """Jobs of one sort take about as long, but for how many steps they have."""
    return job.model.name, job.field, job.mesh, job.paint_only, job.painting is None


def _too_large(job: Job, part: str) -> str:
    """What was too large when memory ran out in `part`."""
    where = "GPU" if job.device == "cuda" else "machine"
    if part in _between(job):
        faces = "so many faces" if job.paint_only else f"{job.mesh.faces} faces"
        what = f"{faces} and a texture of {job.mesh.texture}"
    else:
        what = f'the model "{job.model.name}"'
    return f"the {where} has too little memory for {what}"


def _for_artists(error: UserError) -> str:
    """Its sentence, without remedies that only the command line has, and its dashes before the names of settings."""
    return _TYPED_ALONE.sub("", str(error)).replace("--", "")
