"""Carry out the runs of a suite, one after the other in one process with a warm model."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from backend.evaluation import beginnings, gradients, images, objects, starts
from backend.evaluation.clip import Clip
from backend.evaluation.jury import Jury
from backend.evaluation.prompts import Prompts
from backend.evaluation.references import F_LOOSE, F_THRESHOLD, References
from backend.evaluation.rows import Row, Rows
from backend.evaluation.runs import DEFAULT, VARIANTS, Run, Suite, meshed, picture_of
from backend.guidance import library
from backend.guidance.diffusion import DiffusionGuidance
from backend.pipeline.asking import load_guidance
from backend.pipeline.job import Job, planned, versions
from backend.pipeline.request import Request
from backend.prior import judge, words
from backend.prior.pictures import save_sheet

GRADIENT_PROMPTS, _HALF_MADE = 8, 20


@dataclass(frozen=True)
class Bench:
    """What all runs share. name, device: as a request names them.

    facts: what the figures of every suite depend on, see `facts_of`. small: whether the model's presets are those of
    a small one, see `presets.preset`.
    """

    name: str
    device: str
    guidance: DiffusionGuidance
    jury: Jury
    asked: Prompts
    small: bool
    facts: dict[str, Any]


def prepared(name: str, device: str, clip: Path | None, objects: Path | None = None, own: Sequence[str] = ()) -> Bench:
    """Load the models. objects: a folder of true shapes. own: what to ask for instead of what is drawn.

    Raises UserError.
    """
    net = judge.load(library.builtin().folder)
    asked = Prompts.own(own) if own else Prompts.drawn(net.lexicon)
    job, _ = planned(Request(asked.compared[0], guidance=name, device=device))
    chooser = Clip(clip, sorted({*asked.presets, *asked.compared, *asked.tuning})) if clip else None
    jury = Jury(net, chooser, References.of(objects) if objects else None)
    for prompt in own:
        jury.check(prompt)
        planned(Request(prompt, guidance=name, device=device))
    return Bench(
        name=name,
        device=device,
        guidance=load_guidance(job),
        jury=jury,
        asked=asked,
        small=words.of(job.model.folder) is not None,
        facts=_facts(job, clip, jury.references, own),
    )


def _facts(job: Job, clip: Path | None, references: References | None, own: Sequence[str]) -> dict[str, Any]:
    varied = ("steps", "schedule")
    facts = {
        "model": job.model.name,
        "revision": job.model.revision,
        "device": job.device,
        "precision": job.precision,
        "judge": judge.revision(library.builtin().folder),
        "clip": clip.name if clip else None,
        "objects": references.revision if references else None,
        "prompts": list(own) or None,  # CLIP chooses among them
        "field": job.field,
        "view_mode": job.view_mode,
        "perp_neg": job.perp_neg,
        "defaults": {name: value for name, value in asdict(job.optimisation).items() if name not in varied},
        "versions": versions(),
    }
    return dict(json.loads(json.dumps(facts)))


def check(bench: Bench, suite: Suite) -> None:
    """Raise UserError if a suite lacks what it is made of."""
    if suite == "starts":
        starts.check(bench.jury.references, [bench.jury.net.lexicon.knows(prompt) for prompt in bench.asked.starts])


def facts_of(bench: Bench, what: Suite | Literal["gradients"]) -> dict[str, Any]:
    """What the figures of a suite depend on, but for what its runs say themselves; as JSON has it, to be compared."""
    own: dict[str, Any]
    match what:
        case "2d":
            own = {"image_rate": images.LEARNING_RATE}
        case "starts":
            own = {"within": [F_THRESHOLD], "beginnings": beginnings.VERSION}
        case "gradients":
            own = {"image_rate": images.LEARNING_RATE, "image_steps": _HALF_MADE, "noises": gradients.NOISES}
        case _:
            own = {"within": [F_THRESHOLD, F_LOOSE]}
    return bench.facts | own


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
        found.append(gradients.gradients(bench.guidance, prompt, image, job.optimisation.cfg))
    gradients.save(found, path, facts)
