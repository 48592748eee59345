"""dreamtime compare PROMPT: two schedules, same seed and budget, side by side."""

from dataclasses import replace
from pathlib import Path

import click
import torch

from backend.commands.generate import announced, bar_for, summary
from backend.engine.cameras import ring
from backend.engine.shading import over
from backend.mesh import raycast
from backend.mesh.glb import read_glb
from backend.pipeline.generate import PARTS, generate
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.prior.pictures import save_sheet

_VIEWS, _PIXELS, _BACKGROUND = 8, 160, 0.6


@click.command()
@click.argument("prompt")
@click.option("--schedules", default="time_prior,uniform", show_default=True, help="Their names, with commas.")
@click.option("--preset", default="standard", show_default=True)
@click.option("--steps", type=int, help="Length of both optimisations.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--guidance", default="builtin", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/compare"), show_default=True)
def compare(prompt: str, schedules: str, out: Path, **options: str | int | None) -> None:
    """Make PROMPT by several schedules; OUT/compare.png has one row for each, in their order."""
    request = Request(prompt, **options)  # type: ignore[arg-type]  # the options are its fields
    names = [name.strip() for name in schedules.split(",")]
    jobs = {name: announced(replace(request, schedule=name)) for name in names}
    rows = []
    for name, job in jobs.items():
        with bar_for(name, PARTS) as bar:
            report = generate(job, out / name, False, bar.show)
        click.echo(f"{name}: {summary(report, out / name)}")
        cameras = ring(_VIEWS, elevation_degrees=20)
        seen = raycast.render(read_glb(out / name / MESH)[0], cameras, _PIXELS)
        rows.append(over(seen.colour, seen.opacity, torch.full((_VIEWS, 3), _BACKGROUND)))
    save_sheet(torch.cat(rows), out / "compare.png", columns=_VIEWS, zoom=1)
    click.echo(f"wrote {out / 'compare.png'}: {', then '.join(jobs)}, top to bottom")
