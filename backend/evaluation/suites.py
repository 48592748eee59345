"""Carry out the runs of a suite, one after the other in one process with a warm model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from backend.engine.settings import Settings
from backend.errors import UserError
from backend.evaluation import beginnings, gradients, images, objects, starts
from backend.evaluation.clip import Clip
from backend.evaluation.jury import Jury
from backend.evaluation.prompts import Prompts
from backend.evaluation.references import F_LOOSE, F_THRESHOLD, References
from backend.evaluation.rows import Row, Rows
from backend.evaluation.runs import (
    CHANGES,
    DEFAULT,
    SUITES,
    VARIANTS,
    Effort,
    Run,
    Suite,
    Variant,
    meshed,
    picture_of,
)
from backend.guidance import library
from backend.guidance.diffusion import DiffusionGuidance
from backend.pipeline import request
from backend.pipeline.asking import load_guidance, told
from backend.pipeline.job import Job, planned, versions
from backend.pipeline.presets import PRESETS, PresetName
from backend.pipeline.request import Request
from backend.prior import judge, words
from backend.prior.pictures import save_sheet

GRADIENT_PROMPTS, _HALF_MADE = 8, 20


@dataclass(frozen=True)
class Bench:
    """What all runs share. name, device: as a request names them.

    small: whether the model is tuned as a small one, see `tuning.tuned`. presets: its schedules and steps, by name.
    facts: what the figures of every suite depend on, see `facts_of`.
    """

    name: str
    device: str
    guidance: DiffusionGuidance
    jury: Jury
    asked: Prompts
    small: bool
    presets: Mapping[PresetName, Effort]
    facts: dict[str, Any]


def prepared(name: str, device: str, clip: Path | None, objects: Path | None = None, own: Sequence[str] = ()) -> Bench:
    """Load the models. objects: a folder of true shapes. own: what to ask for instead of what is drawn.

    Raises UserError.
    """
    net = judge.load(library.builtin().folder)
    asked = Prompts.own(own) if own else Prompts.drawn(net.lexicon)
    every = sorted({*asked.presets, *asked.compared, *asked.tuning})
    jury = Jury(net, Clip(clip, every) if clip else None, References.of(objects) if objects else None)
    job, _ = planned(Request(every[0], guidance=name, device=device, paint=True))
    for prompt in every:  # what would be refused is refused now, not in hours
        jury.check(prompt)
        request.check(Request(prompt, guidance=name, device=device), job.model)
    efforts = {preset: _effort(Request(every[0], preset=preset, guidance=name, device=device)) for preset in PRESETS}
    return Bench(
        name=name,
        device=device,
        guidance=load_guidance(job),
        jury=jury,
        asked=asked,
        small=words.of(job.model.folder) is not None,
        presets=efforts,
        facts=_facts(job, jury, own),
    )


def _effort(asked: Request) -> Effort:
    job, _ = planned(asked)
    return job.optimisation.schedule, job.optimisation.steps


def _facts(job: Job, jury: Jury, own: Sequence[str]) -> dict[str, Any]:
    facts = {
        "model": job.model.name,
        "revision": job.model.revision,
        "device": job.device,
        "precision": job.precision,
        "judge": judge.revision(library.builtin().folder),
        "clip": jury.clip.described if jury.clip else None,
        "objects": jury.references.revision if jury.references else None,
        "prompts": list(own) or None,
        "field": job.field,
        "view_mode": job.view_mode,
        "perp_neg": job.perp_neg,
        "defaults": _unvaried(job.optimisation),
        "painting": _unvaried(job.painting),
        "mesh": asdict(job.mesh),
        "versions": versions(),
    }
    return dict(json.loads(json.dumps(facts)))


def _unvaried(settings: Settings | None) -> dict[str, Any] | None:
    """What is the same in all runs."""
    varied = ("steps", "schedule")
    if settings is None:
        return None
    return {name: value for name, value in asdict(settings).items() if name not in varied}


def check(bench: Bench, suite: Suite) -> None:
    """Raise UserError if a suite lacks what it is made of."""
    if suite in CHANGES and not bench.small:
        raise UserError(f"{suite} are changes to how a small model is tuned, which {bench.name} is not; try --suite 3d")
    if suite == "starts":
        starts.check(bench.jury.references, [bench.jury.net.lexicon.knows(prompt) for prompt in bench.asked.starts])


def all_of(bench: Bench) -> tuple[Suite, ...]:
    """The suites that can be carried out without true objects."""
    return tuple(suite for suite in SUITES if suite != "starts" and (bench.small or suite not in CHANGES))


def facts_of(bench: Bench, what: Suite | Literal["gradients"]) -> dict[str, Any]:
    """What the figures of a suite depend on, but for what its runs say themselves; as JSON has it, to be compared."""
    own: dict[str, Any]
    match what:
        case "2d":
            own = {"image_rate": images.LEARNING_RATE}
        case "starts":
            own = {"within": [F_THRESHOLD], "beginnings": beginnings.VERSION, "clip": None}
        case "gradients":
            own = {"image_rate": images.LEARNING_RATE, "image_steps": _HALF_MADE, "noises": gradients.NOISES}
        case "rules" | "parts" | "ablations":
            own = {"within": [F_THRESHOLD, F_LOOSE], "variants": _meant(CHANGES[what])}
        case _:
            own = {"within": [F_THRESHOLD, F_LOOSE]}
    return bench.facts | own


def _meant(variants: Mapping[str, Variant]) -> dict[str, Any]:
    """What the names of variants stand for: another day it may be something else."""
    return dict(json.loads(json.dumps({name: asdict(variant) for name, variant in variants.items()})))


def carried_out(bench: Bench, runs: Sequence[Run], rows: Rows, folder: Path) -> Iterator[Run]:
    """Yields each run as it begins, and keeps its row, and its picture in `folder`; those in `rows` are passed over."""
    done = rows.read()
    with_mesh = meshed(runs)
    for run in runs:
        yield run
        if run in done:
            continue
        row, pictures = _carried_out(bench, run, run in with_mesh)
        save_sheet(pictures, picture_of(run, folder), columns=len(pictures), zoom=1)
        rows.append(row)


def job_of(run: Run, guidance: str, device: str) -> Job:
    """The job that makes what `run` names."""
    variant = VARIANTS[run.variant]
    asked = Request(run.prompt, guidance=guidance, device=device, seed=run.seed)
    job, _ = planned(replace(asked, steps=run.steps, schedule=run.schedule, **variant.request))
    return replace(job, optimisation=replace(job.optimisation, **variant.optimisation))


def _carried_out(bench: Bench, run: Run, mesh: bool) -> tuple[Row, Float[Tensor, "V 3 H W"]]:
    if run.suite == "starts":
        net, references = bench.jury.net, bench.jury.references
        assert references is not None  # noqa: S101 for mypy: `check` asked for it
        return starts.measured(run, bench.name, bench.device, bench.guidance, net, references)
    job = job_of(run, bench.name, bench.device)
    if run.suite == "2d":
        return images.measured(job, run, bench.guidance, bench.jury)
    return objects.measured(job, run, bench.guidance, bench.jury, mesh)


def all_gradients(bench: Bench, folder: Path) -> Iterator[str]:
    """Yields each of a few prompts as its gradients begin to be measured, at an image half made, and keeps them.

    Those of the same facts that are there already stay.
    """
    path, facts = folder / gradients.FILE, facts_of(bench, "gradients")
    if gradients.facts_of(path) == facts:
        return
    found = []
    for prompt in bench.asked.compared[:GRADIENT_PROMPTS]:
        yield prompt
        job = job_of(Run("2d", DEFAULT, "uniform", _HALF_MADE, prompt, 0), bench.name, bench.device)
        image, _ = images.optimised(job, bench.guidance)
        found.append(gradients.gradients(bench.guidance, told(job, prompt), image, job.optimisation.cfg))
    gradients.save(found, path, facts)
