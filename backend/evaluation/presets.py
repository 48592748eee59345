"""The presets, compared with each other, and Standard on all that it can be asked for: a section of the report."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from backend.evaluation import statistics
from backend.evaluation.claims import LABELS
from backend.evaluation.measures import OF_MESHES
from backend.evaluation.rows import Row
from backend.evaluation.runs import patterned_captions
from backend.evaluation.statistics import Interval
from backend.evaluation.tables import brackets, table
from backend.pipeline.presets import PRESETS
from backend.prior.vocabulary import Vocabulary

_MEASURES = tuple(f"mesh_{name}" for name in OF_MESHES)


def section(rows: Sequence[Row], settings: str) -> str:
    """What "presets" rows say. settings: what all of them were made with, in words."""
    made: dict[str, list[Row]] = {name: [row for row in rows if row.run.variant == name] for name in PRESETS}
    missed = sorted(row.run.prompt for row in made["standard"] if row.measures.get("mesh_r_precision") == 0)
    return "\n\n".join(
        [
            "## The presets",
            "Exported meshes, seed 0, of captions that name an object and a colour (plain), or a pattern, too "
            "(patterned). The common captions are those that every preset made. Intervals are over objects: captions "
            f"of one object are alike. {settings}",
            table(("preset", "captions", *(LABELS[name] for name in OF_MESHES)), _lines(made)),
            f"Standard's captions that the judge takes for others: {', '.join(missed) or 'none'}.",
        ]
    )


def _lines(made: Mapping[str, Sequence[Row]]) -> list[Sequence[str]]:
    prompts = set.intersection(*({row.run.prompt for row in of_it} for of_it in made.values()))
    common = {name: [row for row in of_it if row.run.prompt in prompts] for name, of_it in made.items()}
    patterned = set(patterned_captions())
    plain = [row for row in made["standard"] if row.run.prompt not in patterned]
    others = [row for row in made["standard"] if row.run.prompt in patterned]
    lines: list[Sequence[str]] = []
    for told, groups in (("common", common), ("plain", {"standard": plain}), ("patterned", {"standard": others})):
        for name, group in groups.items():
            means = (brackets(_over_objects(_by_caption(group, measure))) for measure in _MEASURES)
            lines.append((name, f"{told} {len(group)}", *means))
    for less, more in pairwise(PRESETS):
        gains = (brackets(_gain(common[more], common[less], measure), "+") for measure in _MEASURES)
        lines.append((f"{more} minus {less}", f"common {len(prompts)}", *gains))
    return lines


def _gain(more: Sequence[Row], less: Sequence[Row], measure: str) -> Interval | None:
    """Of one preset over another, whose numbers of steps differ, on the same captions."""
    values, others = (_by_caption(rows, measure) for rows in (more, less))
    return _over_objects({caption: values[caption] - others[caption] for caption in values if caption in others})


def _by_caption(rows: Sequence[Row], measure: str) -> dict[str, float]:
    """One measure by caption; nothing if some rows lack it, for the mean of a part would pass for that of all."""
    values = statistics.measured(rows, measure)
    return statistics.by_prompt(values) if len(values) == len(rows) else {}


def _over_objects(by_caption: Mapping[str, float]) -> Interval | None:
    """The mean over objects of values by caption."""
    known, alike = Vocabulary(), defaultdict(list)
    for caption, value in by_caption.items():
        alike[known.knows(caption).subject.shape].append(value)
    return statistics.interval(sum(values) / len(values) for values in alike.values())
