"""dreamtime bench: what this machine can do, as the table in the README."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import click

from backend.benches.gpu_check import report as reports
from backend.benches.gpu_check import run as gpu
from backend.errors import UserError

Row = tuple[str, str]


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--service", is_flag=True, help="Measure the backend service instead: messages, files, cancelling.")
@click.option("--gpu-check", is_flag=True, help="Try an NVIDIA card instead, by all that it is for, in nine minutes.")
@click.option(
    "--part", "parts", multiple=True, help="Of the check of a card this part alone; several times for several."
)
@click.option("--dry-run", is_flag=True, help="Go through the check on the CPU, with tiny models.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gpu-check.json"),
    show_default=True,
    help="Where the check is written to.",
)
@click.option(
    "--from", "file", type=click.Path(path_type=Path), help="Print what such a file holds, and measure nothing."
)
def bench(
    device: str, service: bool, gpu_check: bool, parts: tuple[str, ...], dry_run: bool, out: Path, file: Path | None
) -> None:
    """Measure a step, the mesh stage and whole objects, and print a table."""
    if file is not None:
        for line in reports.table(reports.read(file)):
            click.echo(line)
    elif gpu_check:
        _check_gpu(parts, dry_run, out)
    elif parts or dry_run:
        raise UserError("--part and --dry-run belong to --gpu-check; add it")
    else:
        _measure(device, service)


def _check_gpu(parts: tuple[str, ...], dry: bool, out: Path) -> None:
    """Print each part as it is over, and write all of them."""
    if unknown := [name for name in parts if name not in gpu.LIMITS]:
        raise UserError(f'there is no part "{unknown[0]}"; choose of {", ".join(gpu.LIMITS)}')
    chosen = [name for name in gpu.LIMITS if not parts or name in parts]
    found = gpu.carried_out(chosen, dry, gpu.BUDGET, lambda part: click.echo(f"{part.name}: {part.state}", err=True))
    reports.write(found, out)
    for line in reports.table(found):
        click.echo(line)
    click.echo(f"wrote {out}", err=True)
    if any(part.state != reports.DONE for part in found.parts):
        click.get_current_context().exit(1)


def _measure(device: str, service: bool) -> None:
    from backend import machine

    click.echo(f"{machine.described()}\n")
    click.echo("| measured | |\n|---|---|")
    for rows in _service_measurements() if service else _measurements(device):
        for name, value in rows():
            click.echo(f"| {name} | {value} |")


def _service_measurements() -> Iterator[Callable[[], list[Row]]]:
    from backend.benches.service import device_rows, message_rows

    yield message_rows
    yield device_rows


def _measurements(device: str) -> Iterator[Callable[[], Iterable[Row]]]:
    """Everything, each when its turn comes: memory last, for it only grows."""
    from backend.benches import engine as measure
    from backend.benches.starts import start_rows
    from backend.pipeline.asking import load_guidance
    from backend.pipeline.job import planned
    from backend.pipeline.request import Request

    job, _ = planned(Request(measure.PROMPT, device=device))
    guidance = load_guidance(job)
    yield lambda: measure.step_rows(job, guidance)
    yield lambda: [measure.recognition_row(job, guidance)]
    for preset in ("draft", "standard"):
        yield partial(measure.object_rows, preset, device)
        yield partial(measure.cold_rows, preset, device)
    yield partial(start_rows, "draft", device)
    yield measure.mesh_rows
    yield lambda: [measure.memory_row()]
    yield measure.stable_diffusion_rows
