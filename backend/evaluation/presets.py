"""The presets, compared with each other, and Standard on all that it can be asked for: a section of the report."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from backend.evaluation import statistics
from backend.evaluation.claims import LABELS
from backend.evaluation.measures import OF_MESHES
from backend.evaluation.rows import Row
from backend.evaluation.statistics import Interval
from backend.evaluation.tables import brackets, table
from backend.pipeline.presets import PRESETS

_MEASURES = tuple(f"mesh_{name}" for name in OF_MESHES)


def section(rows: Sequence[Row], settings: str) -> str:
    """What "presets" rows say. settings: what all of them were made with, in words."""
    made: dict[str, list[Row]] = {name: [row for row in rows if row.run.variant == name] for name in PRESETS}
    missed = sorted(row.run.prompt for row in made["standard"] if row.measures.get("mesh_r_precision") == 0)
    unjudged = sum("mesh_r_precision" not in row.measures for row in made["standard"])
    return "\n\n".join(
        [
            "## The presets",
            f"Exported meshes, seed 0. The common prompts are those that every preset made. {settings}",
            table(("preset", "prompts", *(LABELS[name] for name in OF_MESHES)), _lines(made)),
            f"Standard's prompts that the judge takes for something else: {', '.join(missed) or 'none'}; {unjudged} "
            "name what it does not know.",
        ]
    )


def _lines(made: Mapping[str, Sequence[Row]]) -> list[Sequence[str]]:
    prompts = set.intersection(*({row.run.prompt for row in of_it} for of_it in made.values()))
    common = {name: [row for row in of_it if row.run.prompt in prompts] for name, of_it in made.items()}
    lines: list[Sequence[str]] = []
    for told, groups in (("common", common), ("all", {"standard": made["standard"]})):
        for name, group in groups.items():
            means = (brackets(statistics.mean(statistics.measured(group, measure))) for measure in _MEASURES)
            lines.append((name, f"{told} {len(group)}", *means))
    for less, more in pairwise(PRESETS):
        gains = (brackets(_gain(common[more], common[less], measure), "+") for measure in _MEASURES)
        lines.append((f"{more} minus {less}", f"common {len(prompts)}", *gains))
    return lines


def _gain(more: Sequence[Row], less: Sequence[Row], measure: str) -> Interval | None:
    """Of one preset over another, whose numbers of steps differ, on the same prompts."""
    values, others = (statistics.by_prompt(statistics.measured(rows, measure)) for rows in (more, less))
    return statistics.interval(values[prompt] - others[prompt] for prompt in values if prompt in others)
