"""dreamtime schedule: the timestep schedules in numbers and as a picture."""

from pathlib import Path

import click
import torch

from backend.engine import schedules
from backend.engine.names import SCHEDULES
from backend.engine.schedules import Table, Window, stable_diffusion_abar
from backend.errors import UserError

_SHARES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_DRAWN = {"uniform": "gray", "window": "black"}


@click.command()
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Length of the run.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="A picture of them (PNG, SVG or PDF).")
def schedule(steps: int, plot: Path | None) -> None:
    """Print which timestep each schedule is at along a run, for Stable Diffusion's noise schedule."""
    made = [schedules.make(name, stable_diffusion_abar(), steps) for name in SCHEDULES]
    click.echo(f"{'':16}" + "".join(f"{share:>7.0%}" for share in _SHARES))
    for one in made:
        if isinstance(one, Table):
            row = "".join(f"{one.timesteps[min(round(share * steps), steps - 1)]:7d}" for share in _SHARES)
        elif isinstance(one, Window):
            row = f"  any of a window that falls to {one.lowest[-1]} to {one.highest[-1]}"
        else:
            row = f"  any of {min(one.candidates)} to {max(one.candidates)} at every step"
        click.echo(f"{one.name:16}{row}")
    if plot:
        _draw(made, steps, plot)
        click.echo(f"wrote {plot}")


def _draw(made: list[schedules.Schedule], steps: int, path: Path) -> None:
    from matplotlib.figure import Figure  # only this option needs it, and it is slow to import

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="share of the run", ylabel="timestep", xlim=(0, 1), ylim=(0, 1000))
    progress = [i / steps for i in range(steps)]
    for one in made:
        if isinstance(one, Table):
            axes.plot(progress, one.timesteps, label=one.name)
        else:
            draws = torch.Generator().manual_seed(0)
            drawn = [one.timestep(i, draws) for i in range(steps)]
            axes.scatter(progress, drawn, s=3, alpha=0.3, color=_DRAWN[one.name], label=one.name)
    axes.legend(markerscale=3)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path} ({error}); name a PNG, SVG or PDF in a folder that exists") from error
