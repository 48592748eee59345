"""How fast this machine is: a step and its parts, the mesh stage, and a whole object.

Ratios come from one run, with the two sides taking turns, so that another program's load falls on both.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from backend import program
from backend.benches import random_models
from backend.engine.optimise import optimise
from backend.engine.rendering import Rendering
from backend.engine.shading import over
from backend.evaluation.measures import BACKGROUND
from backend.guidance import library
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.predictions import Predictions
from backend.guidance.views import Views
from backend.machine import peak_memory
from backend.mesh.asset import MeshSettings
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.generate import generate
from backend.pipeline.job import Job, planned
from backend.pipeline.meshing import Meshing
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.pipeline.shape import Shape, as_new
from backend.prior import judge
from backend.prior.judge import judging_views, ranks, right_answers

PROMPT = "a red mug"
WARMING = 5
"""Calls that choose kernels and fill caches, and are not counted."""

_LOOK_EVERY = 10
Row = tuple[str, str]


@dataclass(frozen=True)
class StepTimes:
    """Seconds, medians. guidance: of the bare call that a step contains."""

    guidance: float
    step: float

    @property
    def ratio(self) -> float:
        return self.step / self.guidance


def step_times(job: Job, guidance: DiffusionGuidance, steps: int = 40, warming: int = WARMING) -> StepTimes:
    """A whole step against the bare guidance call that it contains, taking turns. warming: those not counted."""
    heard = _Heard(guidance)
    settings = replace(job.optimisation, steps=steps)
    field = as_new(job.field, guidance.channels, job.seed, guidance.device)
    run = optimise(field, heard, asked(job, guidance), settings, job.seed)
    whole, bare = [], []
    for index in range(steps):
        seconds = timed(lambda: next(run, None), guidance.device)
        call = timed(heard.again, guidance.device)
        if index >= warming:
            whole.append(seconds)
            bare.append(call)
    return StepTimes(statistics.median(bare), statistics.median(whole))


def step_rows(job: Job, guidance: DiffusionGuidance, steps: int = 40) -> list[Row]:
    """See `step_times`."""
    times = step_times(job, guidance, steps)
    return [
        ("bare guidance call", f"{1e3 * times.guidance:.1f} ms"),
        ("whole step", f"{1e3 * times.step:.1f} ms, {1 / times.step:.1f} it/s"),
        ("step / guidance call", f"{times.ratio:.2f}x"),
    ]


class _Heard:
    """Guidance that remembers what the last step asked of it, to be asked the same again."""

    def __init__(self, guidance: DiffusionGuidance) -> None:
        self._guidance = guidance
        self.abar, self.device, self.channels = guidance.abar, guidance.device, guidance.channels
        self.size, self.schedule_size = guidance.size, guidance.schedule_size
        self.encode, self.plain = guidance.encode, guidance.plain

    def model_space(self, images: torch.Tensor) -> torch.Tensor:
        self._images = images.detach()
        self._asked: list[tuple[torch.Tensor, int, Sequence[torch.Tensor], Views]] = []
        return self._guidance.model_space(images)

    def predict(self, noisy: torch.Tensor, t: int, conditionings: Sequence[torch.Tensor], views: Views) -> Predictions:
        self._asked.append((noisy, t, conditionings, views))
        return self._guidance.predict(noisy, t, conditionings, views)

    def again(self) -> None:
        """What no implementation can do without: into the model's space, the predictions, and the way back."""
        images = self._images.clone().requires_grad_()
        clean = self._guidance.model_space(images)
        *_, said = [self._guidance.predict(*asked) for asked in self._asked]
        torch.autograd.grad((clean * said.outputs[0]).sum(), images)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes on `device`."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def object_rows(name: str, device: str) -> list[Row]:
    """One object by the preset `name` in this process, stage by stage."""
    job, _ = planned(Request(PROMPT, preset=name, device=device))
    with tempfile.TemporaryDirectory() as out:
        report = generate(job, Path(out), resume=False)
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in report.seconds.items())
    total = sum(report.seconds.values())
    return [(f"{name}: {job.optimisation.steps} steps, warm", f"{total:.1f} s with all pictures ({parts})")]


def cold_rows(name: str, device: str) -> list[Row]:
    """Seconds from starting the command to a whole mesh.glb."""
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        process = commanded(["--preset", name, "--device", device], Path(out))
        while not (Path(out) / MESH).exists() and process.poll() is None:
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        failed = process.wait() != 0
    return [(f"{name}: from cold command to mesh.glb", "failed" if failed else f"{seconds:.1f} s")]


def commanded(options: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    """A process of its own that makes an object into `out`."""
    command = [*program.command("backend"), "generate", PROMPT, *options, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  # our own


def mesh_rows() -> list[Row]:
    """The mesh stage at full size on an optimised field, for two budgets of faces."""
    rows = []
    job, _ = planned(Request(PROMPT, preset="draft"))
    for faces in (20_000, 50_000):
        large = replace(job, mesh=MeshSettings(resolution=256, faces=faces, texture=1024))
        with tempfile.TemporaryDirectory() as out:
            report = generate(large, Path(out), resume=False)
        parts = {name: report.seconds[name] for name in Meshing.parts}
        detail = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
        rows.append((f"mesh stage, 256^3, {faces:,} faces, 1024^2", f"{sum(parts.values()):.1f} s ({detail} s)"))
    return rows


def recognition_row(job: Job, guidance: DiffusionGuidance) -> Row:
    """Seconds of optimisation until the judge names the object from eight views of the field."""
    net = judge.load(library.builtin().folder)
    right = right_answers(net.lexicon)[[net.lexicon.numbers[net.lexicon.knows(job.prompt).name]]]
    steps = Shape(job, guidance, asked(job, guidance)).begin().steps
    spent, begun = 0.0, time.perf_counter()
    for progress in steps:
        spent += time.perf_counter() - begun
        if progress.step % _LOOK_EVERY == 0:
            seen = net(_pictures(progress.render(judging_views(), judge.SIZE))).together()
            if ranks(seen.nouns, right).item() == 0:
                return (f"{job.prompt}: judged right", f"after {progress.step} steps, {spent:.1f} s")
        begun = time.perf_counter()
    return (f"{job.prompt}: judged right", f"not within {job.optimisation.steps} steps")


def _pictures(rendering: Rendering) -> torch.Tensor:
    background = torch.full((len(rendering.opacity), 3), BACKGROUND)
    return over(rendering.colour.cpu(), rendering.opacity.cpu(), background)


def memory_row() -> Row:
    """The most memory that this process has had so far."""
    return ("peak memory", f"{peak_memory() / 2**30:.2f} GiB")


def stable_diffusion_rows() -> list[Row]:
    """A step under guidance of Stable Diffusion 1.5's size, where there is a GPU."""
    names = {"SD-1.5-sized, renders encoded": False, "SD-1.5-sized, latent field": True}
    if not torch.cuda.is_available():
        return [(name, "not measured: no CUDA device") for name in names]
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = random_models.true_folder(Path(made) / "sd1", "sd1", torch.device("cuda"))
        for name, latent_field in names.items():
            job, _ = planned(Request(PROMPT, guidance=str(folder), latent_field=latent_field, device="cuda"))
            guidance = load_guidance(job)
            torch.cuda.reset_peak_memory_stats()
            measured = step_rows(job, guidance)
            memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
            rows.append((name, ", ".join([*(f"{what} {value}" for what, value in measured), memory])))
    return rows
