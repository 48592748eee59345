"""What the check measures, part by part. Needs everything that an object needs, torch with CUDA first of all."""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from backend.benches import random_models
from backend.benches.engine import PROMPT, WARMING, step_times, timed
from backend.benches.gpu_check.report import Figure, Measured
from backend.benches.random_models import KINDS
from backend.engine.hashgrid import HashGridField
from backend.engine.regularisers import Ramp
from backend.engine.settings import Regularisation, Shading
from backend.engine.tcnn_hashgrid import missing, tcnn_hash_grid_field
from backend.errors import UserError
from backend.guidance.diffusion import DiffusionGuidance
from backend.machine import peak_gpu_memory
from backend.mesh.asset import MeshSettings
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.generate import generate
from backend.pipeline.job import Job, planned
from backend.pipeline.remedies import out_of_memory
from backend.pipeline.request import Request
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Status

GIB = 2**30
CARDS = (8, 12, None)
"""See `Check.cards`."""

_BESIDES = 1.0
"""Gigabytes of a card that CUDA and a desktop take."""

_TESTS = Path(__file__).parents[3] / "tests" / "gpu"
_DRY_MESH = MeshSettings(resolution=24, faces=200, texture=64)


@dataclass(frozen=True)
class Check:
    """How it is done. dry: on the CPU with tiny models. folder: for the models that are made on the way."""

    dry: bool
    folder: Path

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def warming(self) -> int:
        """Calls that are not counted, see `engine.WARMING`."""
        return 1 if self.dry else WARMING

    @property
    def calls(self) -> int:
        """All calls of what is timed: steps of an optimisation, or others."""
        return self.warming + (1 if self.dry else 25)

    @property
    def cards(self) -> Sequence[int | None]:
        """Gigabytes of the cards that are tried; None: all of the one that there is."""
        return CARDS[:1] if self.dry else CARDS

    def median(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes."""
        device = torch.device(self.device)
        return statistics.median([timed(work, device) for _ in range(self.calls)][self.warming :])

    def model(self, kind: str) -> Path:
        """The folder of a model of that kind, with random weights."""
        folder = self.folder / kind
        if not (folder / "model_index.json").exists():  # what is written last
            if self.dry:
                random_models.save_folder(folder, kind, random_models.small(kind, latents=8), "epsilon")
            else:
                random_models.true_folder(folder, kind, torch.device(self.device))
        return folder

    def job(self, kind: str, preset: str, steps: int, latent_field: bool = False) -> Job:
        """What is carried out with that kind of model."""
        folder = str(self.model(kind))
        request = Request(PROMPT, preset, folder, steps=steps, latent_field=latent_field, device=self.device)
        return planned(request)[0]


def gpu_tests(check: Check) -> Iterator[Measured]:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "--quiet", "-m", "gpu", str(_TESTS)]
    done = subprocess.run(  # noqa: S603  # our own words
        command, capture_output=True, text=True, cwd=_TESTS.parents[1]
    )
    *_, last = [line for line in done.stdout.splitlines() if line] or [done.stderr.strip().rpartition("\n")[2]]
    counts = re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)
    yield Measured("outcome", tuple(Figure(float(count), what) for count, what in counts), "" if counts else last[:200])
    if done.returncode:
        first = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), last)
        raise RuntimeError(first)


def hash_grids(check: Check) -> Iterator[Measured]:
    """The hash grid there and back, in plain torch and on tiny-cuda-nn."""
    draws = torch.Generator(check.device).manual_seed(0)
    points = torch.rand(2**10 if check.dry else 2**18, 3, generator=draws, device=check.device) * 2 - 1
    yield _there_and_back("plain torch", HashGridField(draws), points, check)
    if lack := missing():
        yield Measured("tiny-cuda-nn", note=f"not measured: {lack}"[:200])
    else:
        yield _there_and_back("tiny-cuda-nn", tcnn_hash_grid_field(draws), points, check)


def _there_and_back(name: str, field: HashGridField, points: torch.Tensor, check: Check) -> Measured:
    field.refine(1.0)

    def go() -> None:
        density, colour = field.density_and_colour(points)
        (density.sum() + colour.sum()).backward()

    return Measured(name, (Figure(1e3 * check.median(go), f"ms for {len(points):,} points and back"),))


def step_against_guidance(check: Check) -> Iterator[Measured]:
    """What a step takes beside the guidance call that it contains."""
    for latent_field in (False, True):
        job = check.job("sd1", "standard", check.calls, latent_field)
        times = step_times(job, load_guidance(job), check.calls, check.warming)
        figures = (
            Figure(1e3 * times.guidance, "ms the bare call"),
            Figure(1e3 * times.step, "ms the step"),
            Figure(times.ratio, "times as long"),
        )
        yield Measured(_named("sd1", latent_field), figures)


def published_step(check: Check) -> Iterator[Measured]:
    """A step as threestudio has it by default, beside our own presets' in the same run."""
    job = check.job("sd1", "standard", check.calls)
    guidance = load_guidance(job)
    # configs/dreamfusion-sd.yaml: one view of 64 x 64, 512 samples along the diagonal of a box of 4 metres. Of its
    # regularisers the weights cost nothing; that there are normals from the first step on does.
    threestudio = replace(
        job.optimisation,
        schedule="uniform",
        views=1,
        spacing=3**0.5 * 4 / 512,
        occupancy_resolution=32,
        shading=Shading(lambertian=0.375, textureless=0.375),
        regularisation=Regularisation(opacity=Ramp(1e-3, 1e-3), orientation=Ramp(1e-2, 1e-2)),
    )
    reference = replace(job, optimisation=threestudio, perp_neg=False)
    note = "in this engine; its maintainer has about 5.5 it/s on an RTX 3090"
    yield _pace("threestudio's settings: one view, two predictions", reference, guidance, None, check, note)
    yield _decoding(guidance, check)
    for preset in ("draft", "standard"):
        job = check.job("sd1", preset, check.calls)
        name = f"{preset}: {job.optimisation.views} views, {'Perp-Neg' if job.perp_neg else 'two predictions each'}"
        yield _pace(name, job, load_guidance(job), None, check)


@torch.no_grad()
def _decoding(guidance: DiffusionGuidance, check: Check) -> Measured:
    vae = guidance.parts.vae
    assert vae is not None  # noqa: S101 for mypy: it is a latent model's
    side = guidance.parts.unet.config.sample_size
    latents = torch.zeros(1, 4, side, side, device=guidance.device, dtype=vae.dtype)
    figure = Figure(1e3 * check.median(partial(vae.decode, latents)), "ms")
    return Measured("decoding a picture", (figure,), "which threestudio does in every step since January 2024")


def on_cards(kind: str, check: Check) -> Iterator[Measured]:
    """Pace and peak memory as they are planned for cards of several sizes."""
    for latent_field in (False,) if kind == "mvdream" else (False, True):
        job = check.job(kind, "standard", check.calls, latent_field)
        guidance = load_guidance(job)
        for card in check.cards:
            shape = Shape(job, guidance, asked(job, guidance))
            name = f"{'latents' if latent_field else 'pixels'}, {f'{card} GB' if card else 'the whole card'}"
            with capped(card):
                yield _pace(name, job, guidance, shape.fitting_views(), check)


def whole_object(check: Check) -> Iterator[Measured]:
    """A thousand steps, and all that comes after them."""
    job = check.job("sd1", "draft", check.calls if check.dry else 1000)
    yield from _made(check, job)


def builtin(check: Check) -> Iterator[Measured]:
    """The built-in model by its usual preset."""
    steps = check.calls if check.dry else None
    yield from _made(check, planned(Request(PROMPT, "standard", steps=steps, device=check.device))[0])


def _made(check: Check, job: Job) -> Iterator[Measured]:
    """The object of `job`, in the time that all takes, loading included."""
    if check.dry:
        job = replace(job, mesh=_DRY_MESH)
    steps: list[float] = []

    def listen(status: Status) -> None:
        if status.progress:
            steps.append(time.perf_counter())

    try:
        with tempfile.TemporaryDirectory(dir=check.folder) as out:
            report = generate(job, Path(out), resume=False, listen=listen)
    except UserError:  # nothing came of random weights, say
        if len(steps) > 1:
            pace = Figure((len(steps) - 1) / (steps[-1] - steps[0]), "it/s")
            yield Measured(f"{len(steps)} steps, and no mesh", (pace,))
        raise
    parts = [Figure(seconds, f"s {part}") for part, seconds in report.seconds.items()]
    held = (report.peak_gpu_memory or 0) / GIB
    yield Measured(
        f"{job.optimisation.steps} steps to a mesh",
        (
            Figure(sum(report.seconds.values()), "s in all"),
            Figure(report.iterations / report.seconds["optimising"], "it/s"),
            Figure(float(report.faces), "triangles"),
            *([Figure(held, "GiB at most")] if held else []),
            *parts,
        ),
        "; ".join(report.notes),
    )


MEASURES: dict[str, Callable[[Check], Iterator[Measured]]] = {
    "gpu tests": gpu_tests,
    "hash grid": hash_grids,
    "built-in model": builtin,
    "step against guidance": step_against_guidance,
    "published step": published_step,
    "whole object": whole_object,
    **{name: partial(on_cards, kind) for kind, name in KINDS.items()},
}
"""Every part by its name; see `run.LIMITS`."""


@contextmanager
def capped(card: int | None) -> Iterator[None]:
    """As if the GPU were a card of so many gigabytes."""
    if card is None or not torch.cuda.is_available():
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (card - _BESIDES) * GIB / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _pace(
    name: str, job: Job, guidance: DiffusionGuidance, at_once: int | None, check: Check, note: str = ""
) -> Measured:
    """Steps a second, and what they hold at most. at_once: views at a time, or None for all."""
    if not check.dry:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    views = Figure(float(at_once or job.optimisation.views), "views at a time")
    try:
        steps = Shape(job, guidance, asked(job, guidance)).begin(at_once).steps
        seconds = [timed(lambda: next(steps), guidance.device) for _ in range(check.calls)][check.warming :]
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return Measured(name, (views,), "ran out of memory")
    held = [] if check.dry else [Figure((peak_gpu_memory() or 0) / GIB, "GiB at most")]
    pace = Figure(len(seconds) / sum(seconds), "it/s")
    pictures = Figure(job.optimisation.views * pace.value, "views/s")
    return Measured(name, (pace, pictures, views, *held), note)


def _named(kind: str, latent_field: bool) -> str:
    return f"{KINDS[kind]}, {'latent field' if latent_field else 'renders encoded'}"
