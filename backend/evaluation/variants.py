"""Runs that differ in one thing from the defaults, compared with these: sections of the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from backend.engine.names import ScheduleName
from backend.evaluation import comparisons, plots, statistics
from backend.evaluation.claims import LABELS, QUALITY
from backend.evaluation.comparisons import Pairs
from backend.evaluation.measures import OF_MESHES
from backend.evaluation.rows import Row
from backend.evaluation.runs import DEFAULT, Suite, picture_of
from backend.evaluation.tables import brackets, table
from backend.pipeline.tuning import SMALL

TITLES: Mapping[Suite, str] = {"rules": "Rules", "parts": "Parts", "ablations": "Changes to the defaults"}

_TOLD: Mapping[Suite, str] = {
    "rules": f"Fields. The rule of the default is {SMALL.rule}; timesteps are by time_prior where nothing is said.",
    "parts": "Exported meshes, one part of the way to them changed. painted: as many steps once more, for the colours.",
    "ablations": "Fields, by time_prior.",
}

_MEASURED = (*QUALITY, "few", "facing", "janus", "colour", "sharpness")

_SHOWN = 10
"""Prompts on a sheet."""

Arm = tuple[str, ScheduleName]
"""Variant and schedule."""

_BASE: Arm = (DEFAULT, "time_prior")


def section(suite: Suite, rows: Sequence[Row], settings: str, folder: Path) -> str:
    """What the rows of `suite` say, and show. settings: what all were made with, in words."""
    budgets = sorted({row.run.steps for row in rows})
    told = [_after(suite, steps, [row for row in rows if row.run.steps == steps], folder) for steps in budgets]
    return "\n\n".join([f"## {TITLES[suite]}", f"{_TOLD[suite]} {settings}", *told])


def _after(suite: Suite, steps: int, rows: Sequence[Row], folder: Path) -> str:
    made = _arms(suite, rows)
    pairs, stem = _pairs(made), f"{suite}-{steps}"
    parts = [
        f"After {steps} steps:",
        "\n".join(_verdicts(pairs)),
        _means(made),
        comparisons.compared(pairs, folder / f"{stem}.png", _MEASURED),
        _sheet(made, folder, f"{stem}-sheet.png"),
    ]
    return "\n\n".join(part for part in parts if part)


def _arms(suite: Suite, rows: Sequence[Row]) -> dict[Arm, list[Row]]:
    found: dict[Arm, list[Row]] = {}
    for row in map(_of_mesh, rows) if suite == "parts" else rows:
        found.setdefault((row.run.variant, row.run.schedule), []).append(row)
    return found


def _of_mesh(row: Row) -> Row:
    """The row as if nothing but its mesh had been measured."""
    names = {name: f"mesh_{name}" for name in OF_MESHES}
    return replace(row, measures={name: row.measures[of] for name, of in names.items() if of in row.measures})


def _pairs(made: Mapping[Arm, Sequence[Row]]) -> Pairs:
    """All by time_prior against the default, and against the same by another schedule."""
    pairs: dict[str, tuple[Sequence[Row], Sequence[Row]]] = {}
    for arm, rows in made.items():
        variant, schedule = arm
        if schedule != "time_prior":
            pairs[f"{variant} minus {_called(arm)}"] = (made.get((variant, "time_prior"), ()), rows)
        elif arm != _BASE:
            pairs[f"{variant} minus {DEFAULT}"] = (rows, made.get(_BASE, ()))
    return pairs


def _called(arm: Arm) -> str:
    variant, schedule = arm
    return variant if schedule == "time_prior" else f"{variant} by {schedule}"


def _verdicts(pairs: Pairs) -> Iterator[str]:
    """A plain sentence for each pair: what of its quality changes, and what it costs."""
    for name, (first, second) in pairs.items():
        found = {
            measure: statistics.change(
                statistics.difference(*(statistics.measured(rows, measure) for rows in (first, second)))
            )
            for measure in QUALITY
            if statistics.measured(first, measure)
        }
        told = [f"{verdict} in {LABELS[measure]}" for measure, verdict in found.items() if verdict != "undecided"]
        cost = statistics.ratio(*(statistics.measured(rows, "seconds") for rows in (first, second)))
        seconds = f"; {cost.mean:+.0%} seconds ({cost.low:+.0%} to {cost.high:+.0%})" if cost else ""
        yield f"- {name}: {', '.join(told) or 'undecided in all'}{seconds}."


def _means(made: Mapping[Arm, Sequence[Row]]) -> str:
    every = [row for rows in made.values() for row in rows]
    names = [name for name in _MEASURED if statistics.measured(every, name)]
    lines = [
        (_called(arm), str(len(rows)), *(brackets(statistics.mean(statistics.measured(rows, name))) for name in names))
        for arm, rows in made.items()
    ]
    return table(("", "runs", *(LABELS[name] for name in names)), lines)


def _sheet(made: Mapping[Arm, Sequence[Row]], folder: Path, name: str) -> str:
    """A row for each arm, and in it the first view of what it made of each of some prompts by the first seed."""
    first = {arm: {row.run.prompt: row.run for row in rows if row.run.seed == 0} for arm, rows in made.items()}
    common = set.intersection(*(set(runs) for runs in first.values()))
    prompts = [prompt for prompt in first.get(_BASE, {}) if prompt in common][:_SHOWN]
    runs = [of_arm[prompt] for of_arm in first.values() for prompt in prompts]
    pictures, path = {run: picture_of(run, folder) for run in runs}, folder / name
    if not plots.kept(path, pictures.values(), lambda: plots.sheet(runs, pictures, len(prompts), path)):
        return ""
    return f"{', '.join(prompts)}; by {', '.join(map(_called, made))}, one row each:\n\n![sheet]({name})"
