"""The report: what holds here, and the figures behind it. It is written from what a folder holds, and nothing else."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from backend.engine.names import SCHEDULES
from backend.errors import UserError
from backend.evaluation import claims, comparisons, gradients, plots, presets, rows, starts, statistics, variants
from backend.evaluation.claims import KINDS, LABELS, Finding, of_schedule
from backend.evaluation.comparisons import Pairs
from backend.evaluation.gradients import Gradients
from backend.evaluation.measures import OF_MESHES
from backend.evaluation.reading import READING
from backend.evaluation.rows import Row
from backend.evaluation.runs import SUITES, Suite, picture_of
from backend.evaluation.statistics import Interval
from backend.evaluation.tables import brackets, table

MARKDOWN, JSON = "report.md", "report.json"

_TITLES: Mapping[Suite, str] = {"2d": "Images", "3d": "Objects"}
_PLOTTED: Mapping[Suite, tuple[str, ...]] = {
    "2d": ("r_precision", "confidence", "clip"),
    "3d": ("r_precision", "view_precision", "confidence", "grey", "f_score", "clip"),
}
_OMITTED: Mapping[Suite, tuple[str, ...]] = {"2d": ("view_precision",), "3d": ()}
"""What is left out: an image has one view."""

_GRADIENTS = "gradients"


@dataclass(frozen=True)
class Found:
    """What is in a folder. facts: what the rows of each suite, and the gradients, depend on."""

    folder: Path
    facts: Mapping[str, Mapping[str, Any]]
    rows: Mapping[Suite, Sequence[Row]]
    gradients: Sequence[Gradients]


def read(folder: Path) -> Found:
    """All that was measured. Raises UserError if that is nothing, or of an older version."""
    paths = {suite: rows.path_of(folder, suite) for suite in SUITES}
    found = {suite: list(rows.read(path).values()) for suite, path in paths.items()}
    if not any(found.values()):
        raise UserError(f"{folder} holds no rows to report on: run an evaluation first")
    facts: dict[str, Mapping[str, Any]] = {suite: rows.read_facts(paths[suite]) for suite in SUITES if found[suite]}
    if not all("objects" in of_suite for of_suite in facts.values()):
        raise UserError(f"the rows in {folder} are of an older version: name another --out")
    kept = folder / gradients.FILE
    return Found(folder, facts | {_GRADIENTS: gradients.facts_of(kept)}, found, gradients.load(kept))


def write(found: Found, machine: str) -> dict[str, list[Finding]]:
    """Write the report and its pictures beside the rows, and return what it says to the claims, by title."""
    answers = _answers(found)
    parts = [_head(found, machine), *([_sentences(answers)] if answers else [])]
    parts += [_schedules(found, suite) for suite in _TITLES if found.rows[suite]]
    parts += [_gradients(found)] if found.gradients else []
    for suite in variants.TITLES:
        if found.rows[suite]:
            parts.append(variants.section(suite, found.rows[suite], _settings(found, suite), found.folder))
    parts += [presets.section(found.rows["presets"], _settings(found, "presets"))] if found.rows["presets"] else []
    if found.rows["starts"]:
        parts.append(starts.section(found.rows["starts"], _defaults(found, "starts"), found.folder))
    (found.folder / MARKDOWN).write_text("\n\n".join([*parts, READING]) + "\n", "utf-8")
    (found.folder / JSON).write_text(json.dumps(_as_json(found, answers), indent=1) + "\n", "utf-8")
    return answers


def _answers(found: Found) -> dict[str, list[Finding]]:
    answers = {title: claims.findings(found.rows[suite]) for suite, title in _TITLES.items() if found.rows[suite]}
    if found.gradients:
        answers["The gradient"] = [claims.frequency(found.gradients)]
    if tried := claims.findings_of_rules(found.rows["rules"]):
        answers["Rules"] = tried
    return answers


def _as_json(found: Found, answers: Mapping[str, Sequence[Finding]]) -> dict[str, Any]:
    means = {
        suite: [
            {"schedule": schedule, "steps": steps, "measure": name, **asdict(interval)}
            for schedule, steps, name, interval in _means(found.rows[suite], LABELS)
        ]
        for suite in _TITLES
    }
    findings = {title: [asdict(answer) for answer in group] for title, group in answers.items()}
    return {"facts": found.facts, "findings": findings, "means": means}


def _head(found: Found, machine: str) -> str:
    counts = ", ".join(f"{len(group)} runs of {suite}" for suite, group in found.rows.items() if group)
    own = sorted({prompt for facts in found.facts.values() for prompt in facts.get("prompts") or ()})
    asked = f"\nThe prompts were given in a file: {'; '.join(own)}." if own else ""
    return f"""# Does TP-SDS win here?

Made by `python -m backend evaluate`: {counts}.{asked}
Report written on: {machine}."""


def _model(facts: Mapping[str, Any]) -> str:
    judges = "" if facts["clip"] is None else f" CLIP judges as well: {facts['clip']}."
    return f"Model {facts['model']} ({facts['revision'][:19]}), {facts['device']}, {facts['precision']}.{judges}"


def _settings(found: Found, suite: Suite) -> str:
    """What the model and the defaults were when a suite was run: these are changed by what reports say."""
    objects = found.facts[suite]["objects"]
    shapes = f" F-scores are against {objects.split(',')[0]}." if objects else ""
    early = Counter(f"{row.run.variant}, {row.run.schedule}" for row in found.rows[suite] if row.failure)
    ended = ", ".join(f"{count} of {name}" for name, count in early.items()) or "none"
    return f"{_defaults(found, suite)}{shapes} Ended early: {ended}."


def _defaults(found: Found, suite: Suite) -> str:
    facts = found.facts[suite]
    defaults = facts["defaults"]
    return (
        f"{_model(facts)} Defaults of these runs: gradient weight {defaults['weight']}, cfg {defaults['cfg']}, "
        f"learning rate falling to {defaults['final_rate']} of itself."
    )


def _sentences(answers: Mapping[str, Sequence[Finding]]) -> str:
    lines = ["## The paper's claims"]
    for title, group in answers.items():
        lines += [f"\n{title}:\n", *(f"- {answer.sentence}" for answer in group)]
    return "\n".join(lines)


def _schedules(found: Found, suite: Suite) -> str:
    group = found.rows[suite]
    names = [name for name in LABELS if statistics.measured(group, name) and name not in _OMITTED[suite]]
    plotted = [name for name in _PLOTTED[suite] if name in names]
    plots.by_budget(group, plotted, found.folder / f"{suite}.png")
    prompts, seeds = ({getattr(row.run, name) for row in group} for name in ("prompt", "seed"))
    parts = [
        f"## {_TITLES[suite]}",
        f"{len(prompts)} prompts, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}. {_settings(found, suite)}",
        _table_of_means(group, names),
        f"![by budget]({suite}.png)",
        _between_schedules(found, suite),
        _table_of_diversity(group),
        _sheet(found, suite, sorted(seeds)),
    ]
    if suite == "3d":
        parts.append(_meshes(group))
    return "\n\n".join(part for part in parts if part)


def _parts(group: Sequence[Row]) -> Iterable[tuple[str, int, Sequence[Row]]]:
    """The rows of each schedule and budget."""
    for schedule in SCHEDULES:
        for steps in sorted({row.run.steps for row in group}):
            here = [row for row in of_schedule(group, schedule) if row.run.steps == steps]
            if here:
                yield schedule, steps, here


def _means(group: Sequence[Row], names: Iterable[str]) -> Iterable[tuple[str, int, str, Interval]]:
    for schedule, steps, here in _parts(group):
        for name in names:
            interval = statistics.mean(statistics.measured(here, name))
            if interval is not None:
                yield schedule, steps, name, interval


def _table_of_means(group: Sequence[Row], names: Sequence[str]) -> str:
    lines = []
    for schedule, steps, here in _parts(group):
        means = [statistics.mean(statistics.measured(here, name)) for name in names]
        lines.append((schedule, str(steps), str(len(here)), *map(brackets, means)))
    return table(("schedule", "steps", "runs", *(LABELS[name] for name in names)), lines)


def _between_schedules(found: Found, suite: Suite) -> str:
    groups: dict[str, Sequence[Row]] = {schedule: of_schedule(found.rows[suite], schedule) for schedule in SCHEDULES}
    parts = []
    for base in ("uniform", "time_prior"):
        compared = comparisons.compared(comparisons.against(groups, base), found.folder / f"{suite}-minus-{base}.png")
        parts.append(f"Each schedule minus {base}, over all budgets:\n\n{compared}")
    gains = comparisons.compared(_parts_of_gain(groups), found.folder / f"{suite}-gain.png")
    parts.append(f"time_prior minus uniform, by budget:\n\n{gains}")
    return "\n\n".join(parts)


def _parts_of_gain(groups: Mapping[str, Sequence[Row]]) -> Pairs:
    """time_prior and uniform, by budget."""
    both = groups["time_prior"], groups["uniform"]
    budgets = sorted({row.run.steps for group in both for row in group})
    pairs: dict[str, tuple[list[Row], list[Row]]] = {f"after {steps} steps": ([], []) for steps in budgets}
    for side, group in enumerate(both):
        for row in group:
            pairs[f"after {row.run.steps} steps"][side].append(row)
    return pairs


def _table_of_diversity(group: Sequence[Row]) -> str:
    kinds = [kind for kind in KINDS if statistics.diversity(group, kind)]
    lines = []
    for schedule, steps, here in _parts(group):
        found = [statistics.diversity(here, kind) for kind in kinds]
        if any(found):
            means = [brackets(statistics.mean(values)) for values in found]
            lines.append((schedule, str(steps), str(max(map(len, found))), *means))
    if not lines:
        return ""
    by_part = table(("schedule", "steps", "prompts", *(KINDS[kind] for kind in kinds)), lines)
    return f"How much correct results of one prompt differ from seed to seed:\n\n{by_part}"


def _sheet(found: Found, suite: Suite, seeds: Sequence[int]) -> str:
    """A sheet of what runs of the largest budget made, where their pictures are still there."""
    group = found.rows[suite]
    steps = max(row.run.steps for row in group)
    prompts = list(dict.fromkeys(row.run.prompt for row in group))
    if suite == "2d":
        runs, told = plots.seeds_of(prompts[:3], seeds, steps), f"one row each; {len(seeds)} seeds of each prompt"
    else:
        runs, told = plots.prompts_of(prompts[:10], steps), "one row each"
    schedules = [schedule for schedule in SCHEDULES if of_schedule(group, schedule)]
    runs = [run for run in runs if run.schedule in schedules]
    made = {row.run for row in group}.intersection(runs)
    pictures, path = {run: picture_of(run, found.folder) for run in made}, found.folder / f"{suite}-sheet.png"
    if not plots.kept(path, pictures.values(), lambda: plots.sheet(runs, pictures, len(runs) // len(schedules), path)):
        return ""
    return f"After {steps} steps, by {', '.join(schedules)}, {told}:\n\n![sheet]({path.name})"


def _meshes(group: Sequence[Row]) -> str:
    exported = [row for row in group if "mesh_r_precision" in row.measures]
    if not exported:
        return ""
    lines = []
    for name in OF_MESHES:
        field, mesh = (statistics.mean(statistics.measured(exported, f"{of}{name}")) for of in ("", "mesh_"))
        if field and mesh:
            lines.append((LABELS[name], brackets(field), brackets(mesh)))
    both = table(("measure", "field", "exported mesh"), lines)
    return f"{len(exported)} of the runs, drawn at random before they began, were also exported as meshes:\n\n{both}"


def _gradients(found: Found) -> str:
    plots.frequencies(found.gradients, found.folder / "frequencies.png")
    plots.gradient_sheet(found.gradients, found.folder / "gradients.png")
    lines = [
        (str(t), f"{_mean_at(found, 'centroid', index):.3f}", f"{_mean_at(found, 'share_high', index):.3f}")
        for index, t in enumerate(gradients.TIMESTEPS)
    ]
    facts, shown = found.facts[_GRADIENTS], ", ".join(map(str, gradients.SHOWN))
    steadily = sum(all(less < more for less, more in pairwise(one.centroid)) for one in found.gradients)
    return "\n\n".join(
        [
            "## The gradient",
            f"At images half made, {len(found.gradients)} prompts, in the mean over noises, at cfg "
            f"{facts['defaults']['cfg']}; t is Stable Diffusion's. {_model(facts)} For {steadily} of the prompts the "
            f"gradient gets finer at every one of these t.",
            table(("t", "mean spatial frequency, cycles per pixel", "share of power above 1/4"), lines),
            "![frequencies](frequencies.png)",
            f"A row for each prompt: the image, and what is wanted of it at t = {shown}:",
            "![gradients](gradients.png)",
        ]
    )


def _mean_at(found: Found, name: str, index: int) -> float:
    return sum(getattr(one, name)[index] for one in found.gradients) / len(found.gradients)
