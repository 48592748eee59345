"""dreamtime bench: what this machine can do, as the table in the README."""

from collections.abc import Callable, Iterator
from functools import partial

import click

from backend import machine
from backend.benches import engine as measure
from backend.benches.engine import PROMPT, Row
from backend.benches.service import device_rows, message_rows
from backend.pipeline.asking import load_guidance
from backend.pipeline.job import planned
from backend.pipeline.request import Request


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--service", is_flag=True, help="Measure the backend service instead: messages, files, cancelling.")
def bench(device: str, service: bool) -> None:
    """Measure a step, the mesh stage and whole objects, and print a table."""
    click.echo(f"{machine.described()}\n")
    click.echo("| measured | |\n|---|---|")
    for rows in _service_measurements() if service else _measurements(device):
        for name, value in rows():
            click.echo(f"| {name} | {value} |")


def _service_measurements() -> Iterator[Callable[[], list[Row]]]:
    yield message_rows
    yield device_rows


def _measurements(device: str) -> Iterator[Callable[[], list[Row]]]:
    """Everything, each when its turn comes: memory last, for it only grows."""
    job, _ = planned(Request(PROMPT, device=device))
    guidance = load_guidance(job)
    yield lambda: measure.step_rows(job, guidance)
    yield lambda: [measure.recognition_row(job, guidance)]
    for preset in ("draft", "standard"):
        yield partial(measure.object_rows, preset, device)
        yield partial(measure.cold_rows, preset, device)
    yield measure.mesh_rows
    yield lambda: [measure.memory_row()]
    yield measure.stable_diffusion_rows
