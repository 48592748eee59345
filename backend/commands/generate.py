"""dreamtime generate PROMPT: a prompt becomes a textured mesh."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
import torch
from tqdm import tqdm

from backend import machine
from backend.guidance.speed import flops_per_second
from backend.pipeline import estimate, speeds
from backend.pipeline.generate import generate as carry_out
from backend.pipeline.generate import parts_of
from backend.pipeline.job import Job, planned
from backend.pipeline.request import Request
from backend.pipeline.results import MESH, Report
from backend.pipeline.shape import OPTIMISING
from backend.pipeline.stages import Status
from shared.durations import duration

_OUT = Path("out")


@click.command()
@click.argument("prompt")
@click.option("--preset", default="standard", show_default=True, help="draft, standard or high.")
@click.option("--guidance", default="builtin", show_default=True, help="builtin, an added model, or a folder.")
@click.option("--negative", default="", help="What to keep away from.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--steps", type=int, help="Length of the optimisation; the preset's if left out, as all below.")
@click.option("--schedule", help="time_prior, time_prior_ddpm, linear, sqrt, uniform or window.")
@click.option("--field", help="voxel, hashgrid or sdf.")
@click.option("--cfg", type=float, help="Classifier-free guidance scale.")
@click.option("--rule", help="How the gradient is made: sds, csd, asd, sdi, bridge, x0 or vsd.")
@click.option("--faces", type=int, help="At most this many triangles.")
@click.option("--texture", type=int, help="Pixels per side.")
@click.option("--shading", default="auto", show_default=True, help="auto (smooth but for creases), smooth or flat.")
@click.option("--latent-field", is_flag=True, help="Render latents instead of colours: faster, for models with a VAE.")
@click.option("--level", type=float, help="Density of the surface, per metre; found automatically if left out.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--start", type=click.Path(path_type=Path), help="The file of a mesh or a picture to begin from.")
@click.option("--strength", type=float, help="How far the result may leave a mesh, up to 1; 0.5 if left out.")
@click.option("--paint-only", is_flag=True, help="Make colours for the mesh, and leave its shape alone.")
@click.option("--paint/--no-paint", default=None, help="Make the colours of the result once more, finely.")
@click.option("--sketch", is_flag=True, help="Of the picture only the outline counts.")
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="A second picture, white where the object is; or the numbers of the triangles to paint, as text.",
)
@click.option("--out", type=click.Path(path_type=Path), default=_OUT, show_default=True, help="The folder to write.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
def generate(prompt: str, out: Path, resume: bool, **options: str | float | Path | None) -> None:
    """Turn PROMPT into a textured mesh: OUT/mesh.glb, with pictures and a report beside it."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    request = Request(prompt, **options)  # type: ignore[arg-type]  # the options are its fields
    job = announced(request)
    if not resume:
        _say_how_long(request, job)
    with bar_for(prompt, parts_of(job)) as bar:
        report = carry_out(job, out, resume, bar.show)
    for note in report.notes:
        click.echo(f"warning: {note}", err=True)
    if speeds.usual(request) and (took := report.step_seconds.get(OPTIMISING)):
        speeds.remember(machine.named(job.device), job.model.name, job.preset, took)
    click.echo(summary(report, out))


def _say_how_long(request: Request, job: Job) -> None:
    """By what its steps took before on this machine, else by counting; nothing, where neither tells."""
    device = machine.named(job.device)
    took = speeds.known(device).get((job.model.name, job.preset))
    step = took if took and speeds.usual(request) else _counted(request, job)
    if step is not None:
        seconds = estimate.of_steps(step, job.optimisation.steps, job.preset)
        click.echo(f"about {duration(seconds)} on {device}", err=True)


def _counted(request: Request, job: Job) -> float | None:
    """Seconds of a step by what it computes, or None where that says nothing."""
    work = estimate.work_of_step(job.model.folder, job.optimisation.views, job.perp_neg, job.latent_field)
    if work is None or request.rule is not None or job.paint_only or job.painting is not None:
        return None
    return work / flops_per_second(torch.device(job.device), job.precision)


def announced(request: Request) -> Job:
    """The job for `request`, after telling the user what will have no effect."""
    job, warnings = planned(request)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return job


def summary(report: Report, out: Path) -> str:
    """One line for the person who waited."""
    closed = "watertight" if report.watertight else "not watertight"
    seen = "painting" if report.recipe["paint_only"] else "field"
    return (
        f"wrote {out / MESH}: {report.faces:,} triangles, {closed}, "
        f"{report.psnr:.1f} dB and {report.silhouette_iou:.3f} IoU against the {seen}, "
        f"{sum(report.seconds.values()):.0f} s"
    )


class Bar:
    """A progress bar over steps and `parts`."""

    def __init__(self, bar: "tqdm[NoReturn]", parts: tuple[str, ...]) -> None:
        self._bar, self._parts = bar, parts
        self._begun = ""

    def show(self, status: Status) -> None:
        if status.progress is None:
            self._bar.set_description(f"{status.part} ({self._parts.index(status.part) + 1}/{len(self._parts)})")
            return
        progress = status.progress
        if self._begun != status.part:
            self._begun = status.part
            self._bar.reset(progress.steps)
            self._bar.initial = self._bar.n = progress.step - 1  # a resumed run has not done these just now
        self._bar.set_postfix(t=progress.t, refresh=False)
        self._bar.update(progress.step - self._bar.n)


@contextmanager
def bar_for(prompt: str, parts: tuple[str, ...]) -> Iterator[Bar]:
    """A bar that stays on the screen when it is done. parts: all that will be announced."""
    with tqdm(desc=prompt, unit="step", total=None) as bar:
        yield Bar(bar, parts)
