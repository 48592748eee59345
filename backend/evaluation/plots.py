"""The report's plots and picture sheets."""

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from backend.engine.names import SCHEDULES, ScheduleName
from backend.evaluation import statistics
from backend.evaluation.claims import LABELS, of_schedule
from backend.evaluation.gradients import SHOWN, TIMESTEPS, Gradients
from backend.evaluation.rows import Row
from backend.evaluation.runs import DEFAULT, Run
from backend.evaluation.statistics import Interval
from backend.prior.pictures import save_sheet

_COLOURS: dict[ScheduleName, str] = {
    "time_prior": "tab:red",
    "time_prior_ddpm": "tab:orange",
    "linear": "tab:green",
    "sqrt": "tab:blue",
    "uniform": "tab:gray",
    "window": "tab:purple",
}
_APART = 0.05
"""How far lines stand apart, in powers of two, where intervals would hide each other."""

_TITLE = 24
"""Letters to a line of a plot's title."""


def by_budget(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Each measure by the number of steps, a line with intervals for each schedule."""
    figure = Figure(figsize=(3.4 * len(names), 3.4), layout="constrained")
    budgets = sorted({row.run.steps for row in rows})
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axes.set(title=LABELS[name], xlabel="steps", xscale="log")
        for index, schedule in enumerate(SCHEDULES):
            _line(axes, of_schedule(rows, schedule), name, schedule, budgets, 2 ** (_APART * (index - 2)))
        axes.set_xticks(budgets, [str(steps) for steps in budgets])
        axes.minorticks_off()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=110)


def _line(
    axes: Axes, rows: Sequence[Row], name: str, schedule: ScheduleName, budgets: Sequence[int], shift: float
) -> None:
    values = {n: statistics.measured([row for row in rows if row.run.steps == n], name) for n in budgets}
    found = {n: one for n in budgets if (one := statistics.mean(values[n])) is not None}
    if found:
        means, bars = _means_and_bars(list(found.values()))
        places = [steps * shift for steps in found]
        axes.errorbar(places, means, bars, label=schedule, color=_COLOURS[schedule], capsize=2, linewidth=1)


def _means_and_bars(intervals: Sequence[Interval]) -> tuple[list[float], np.ndarray]:
    bars = np.array([(one.mean - one.low, one.high - one.mean) for one in intervals]).T
    return [one.mean for one in intervals], bars


def differences(found: Mapping[str, Mapping[str, Interval]], path: Path) -> None:
    """For each measure the differences of all variants that have it, with intervals, against a line at none."""
    names = list(dict.fromkeys(name for intervals in found.values() for name in intervals))
    figure = Figure(figsize=(3 * len(found) + 1, 0.28 * len(names) + 1), layout="constrained")
    for axes, (measure, intervals) in zip(
        figure.subplots(1, len(found), squeeze=False, sharey=True)[0], found.items(), strict=True
    ):
        means, bars = _means_and_bars(list(intervals.values()))
        axes.axvline(0, color="black", linewidth=0.8)
        axes.errorbar(means, [names.index(name) for name in intervals], xerr=bars, fmt="o", markersize=4, capsize=2)
        axes.set_yticks(range(len(names)), names)
        axes.set(title=textwrap.fill(LABELS[measure], _TITLE), xlabel="difference")
        axes.locator_params(axis="x", nbins=4)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first one on top
    figure.savefig(path, dpi=110)


def frequencies(found: Sequence[Gradients], path: Path) -> None:
    """How fine the gradient is by timestep: a thin line for each prompt, a thick one for their mean."""
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="timestep (Stable Diffusion's)", ylabel="mean spatial frequency, cycles per pixel")
    for one in found:
        axes.plot(TIMESTEPS, one.centroid, color="tab:gray", linewidth=0.7)
    axes.plot(TIMESTEPS, np.mean([one.centroid for one in found], axis=0), color="tab:red", linewidth=2)
    axes.invert_xaxis()
    figure.savefig(path, dpi=110)


def gradient_sheet(found: Sequence[Gradients], path: Path) -> None:
    """A row for each prompt: the image, then what is wanted of it at a large, a middle and a small timestep."""
    tiles = []
    for one in found:
        scale = one.pictures.abs().amax(dim=(1, 2, 3), keepdim=True)
        tiles += [one.image, *(0.5 - 0.5 * one.pictures / scale)]
    save_sheet(torch.stack(tiles), path, columns=1 + len(SHOWN), zoom=3)


def kept(path: Path, pictures: Collection[Path], draw: Callable[[], None]) -> bool:
    """Whether a sheet is at `path`: drawn anew where all its pictures are there, or as it was.

    A clone has the sheet, but not what it shows.
    """
    if pictures and all(picture.exists() for picture in pictures):
        draw()
    return path.exists()


def sheet(runs: Sequence[Run], pictures: Mapping[Run, Path], columns: int, path: Path) -> None:
    """The first view of each run, `columns` to a row; those without a picture are black."""
    tiles = [_first_view(pictures[run]) if run in pictures else None for run in runs]
    blank = torch.zeros_like(next(tile for tile in tiles if tile is not None))
    filled = torch.stack([blank if tile is None else tile for tile in tiles])
    save_sheet(filled, path, columns, zoom=max(1, 96 // filled.shape[-1]))


def strips(pictures: Sequence[Path], columns: int, path: Path) -> None:
    """Pictures of one size as one, `columns` to a row."""
    tiles = torch.stack([_read(picture) for picture in pictures])
    save_sheet(tiles, path, columns, zoom=1)


def _first_view(path: Path) -> Float[Tensor, "3 H H"]:
    strip = _read(path)
    return strip[..., : strip.shape[1]]


def _read(path: Path) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), np.float32).copy()).permute(2, 0, 1) / 255


def seeds_of(prompts: Sequence[str], seeds: Sequence[int], steps: int) -> list[Run]:
    """Runs in 2D, a row for each schedule: where the seeds of a prompt look alike, modes have collapsed."""
    return [
        Run("2d", DEFAULT, schedule, steps, prompt, seed)
        for schedule in SCHEDULES
        for prompt in prompts
        for seed in seeds
    ]


def prompts_of(prompts: Sequence[str], steps: int) -> list[Run]:
    """Runs in 3D, a row of prompts for each schedule."""
    return [Run("3d", DEFAULT, schedule, steps, prompt, 0) for schedule in SCHEDULES for prompt in prompts]
