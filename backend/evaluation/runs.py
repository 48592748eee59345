"""What is compared: prompts, schedules, budgets and seeds, and what an ablation changes.

A run is named by what makes it: two of the same name are the same run.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from backend.engine.names import RULES, ScheduleName
from backend.engine.regularisers import Ramp
from backend.engine.schedules import TimePrior
from backend.engine.settings import Detail, Shading
from backend.evaluation.prompts import Prompts
from backend.pipeline.presets import PRESETS, PresetName, preset
from backend.pipeline.tuning import SMALL

Suite = Literal["2d", "3d", "rules", "parts", "ablations", "presets", "starts"]
SUITES: tuple[Suite, ...] = get_args(Suite)

Beginning = Literal["nothing", "paint", "blockout", "picture", "sketch"]
BEGINNINGS: tuple[Beginning, ...] = get_args(Beginning)
"""What runs of "starts" begin from, which are their variants; see `beginnings`."""

DEFAULT = "default"
STEPS = 120
"""Of every run whose variant is compared with the defaults."""

_ABLATION_SEEDS, _SEEDS = 1, 2
_FEW_PROMPTS = 12
"""Those on which parts, and what takes long, are compared."""

_COMMON = 40
"""Of the prompts that Standard is tried on, those that all presets are."""

_MESHES = 60

_LETTERS = 60
"""Of a picture's name, the last ones."""

_BLOCKED_OUT = 10
"""Of the prompts of "starts", those that are begun in every way; the others not from boxes or a sketch."""


@dataclass(frozen=True)
class Variant:
    """What differs from the defaults, besides the schedule and the steps: fields of `Request` and of `Settings`."""

    request: Mapping[str, Any] = field(default_factory=dict)
    optimisation: Mapping[str, Any] = field(default_factory=dict)


ABLATIONS: Mapping[str, Variant] = {
    "m1=700": Variant(optimisation={"time_prior": TimePrior(m1=700.0)}),
    "m1=900": Variant(optimisation={"time_prior": TimePrior(m1=900.0)}),
    "m2=300": Variant(optimisation={"time_prior": TimePrior(m2=300.0)}),
    "m2=600": Variant(optimisation={"time_prior": TimePrior(m2=600.0)}),
    "s1=150": Variant(optimisation={"time_prior": TimePrior(s1=150.0)}),
    "s1=600": Variant(optimisation={"time_prior": TimePrior(s1=600.0)}),
    "s2=50": Variant(optimisation={"time_prior": TimePrior(s2=50.0)}),
    "s2=200": Variant(optimisation={"time_prior": TimePrior(s2=200.0)}),
    "W_d * time_prior": Variant(optimisation={"time_prior": TimePrior(times_ddpm=True)}),
    "weight sds": Variant(optimisation={"weight": "sds"}),
    "decay to 0.1": Variant(optimisation={"final_rate": 0.1}),
    "no decay": Variant(optimisation={"final_rate": 1.0}),
    "cfg=4": Variant(request={"cfg": 4.0}),
    "cfg=15": Variant(request={"cfg": 15.0}),
    "views apart": Variant(optimisation={"joint_views": 1}),
    "no limit of depth": Variant(optimisation={"depth": None}),
    "surfaces may bend": Variant(optimisation={"regularisation": replace(SMALL.regularisation, bending=Ramp())}),
    "even colours": Variant(
        optimisation={"regularisation": replace(SMALL.regularisation, patches=Ramp(0.0, 1.0, begin=0.5))}
    ),
    "half of the views lit": Variant(optimisation={"shading": Shading(lambertian=0.5)}),
    "half the pixels at first": Variant(optimisation={"detail": Detail(size=Ramp(0.5, 1.0))}),
    "coarse samples at first": Variant(optimisation={"detail": Detail(spacing=Ramp(2.0, 1.0))}),
    "close-ups at last": Variant(optimisation={"detail": Detail(frame=Ramp(1.0, 0.6, begin=0.5))}),
    "hashgrid": Variant(request={"field": "hashgrid"}),
    "sdf": Variant(request={"field": "sdf"}),
}
"""One change each to time_prior as it comes."""

RULED: Mapping[str, Variant] = {
    name: Variant(request={"rule": name}) for name in RULES if name not in (SMALL.rule, "bridge")
}
"""Another rule for the gradient; but for the bridge, whose words a small model was not taught."""

PARTS: Mapping[str, Variant] = {
    **{name: ABLATIONS[name] for name in ("sdf", "views apart", "half the pixels at first")},
    "painted": Variant(request={"paint": True}),
}
"""Parts of the way to an object that may be there or not, or be others."""

CHANGES: Mapping[Suite, Mapping[str, Variant]] = {"rules": RULED, "parts": PARTS, "ablations": ABLATIONS}
"""What each suite that has variants changes; all are changes to how a small model is tuned."""

VARIANTS: Mapping[str, Variant] = {
    DEFAULT: Variant(),
    **ABLATIONS,
    **RULED,
    **PARTS,
    **{name: Variant(request={"preset": name}) for name in PRESETS},
}


@dataclass(frozen=True)
class Run:
    """One optimisation. variant: a name in `VARIANTS`, or, of "starts", in `BEGINNINGS`."""

    suite: Suite
    variant: str
    schedule: ScheduleName
    steps: int
    prompt: str
    seed: int

    def __str__(self) -> str:
        return f"{self.prompt}, {self.variant}, {self.schedule}, {self.steps} steps, seed {self.seed}"


Effort = tuple[ScheduleName, int]
"""What a preset is to a run: its schedule and its steps."""

_SMALL_PRESETS: Mapping[PresetName, Effort] = {
    name: (chosen.schedule, chosen.steps) for name in PRESETS if (chosen := preset(name, small=True, device="cpu"))
}


def planned_runs(
    suite: Suite,
    asked: Prompts,
    prompts: int,
    seeds: int,
    schedules: Sequence[ScheduleName],
    budgets: Sequence[int],
    presets: Mapping[PresetName, Effort] = _SMALL_PRESETS,
) -> list[Run]:
    """The runs of a suite, in an order that compares everything on few prompts before it goes to the next.

    Only "2d" and "3d" heed the numbers: the others have sizes of their own. presets: of the model, by name.
    """
    match suite:
        case "2d" | "3d":
            return [
                Run(suite, DEFAULT, schedule, steps, prompt, seed)
                for seed in range(seeds)
                for prompt in asked.compared[:prompts]
                for steps in budgets
                for schedule in _shuffled(schedules, f"{prompt} {steps} {seed}")
            ]
        case "rules":
            return list(_rules(asked))
        case "parts":
            return _varied(suite, asked.compared[:_FEW_PROMPTS], (DEFAULT, *PARTS), _SEEDS)
        case "ablations":
            return _varied(suite, asked.tuning, (DEFAULT, *ABLATIONS), _ABLATION_SEEDS)
        case "presets":
            return list(_presets(asked, presets))
        case "starts":
            return [
                Run(suite, beginning, *presets["standard"], prompt, 0)
                for index, prompt in enumerate(asked.starts)
                for beginning in BEGINNINGS
                if index < _BLOCKED_OUT or beginning not in ("blockout", "sketch")
            ]


def _varied(suite: Suite, prompts: Sequence[str], variants: Sequence[str], seeds: int) -> list[Run]:
    return [
        Run(suite, variant, "time_prior", STEPS, prompt, seed)
        for seed in range(seeds)
        for prompt in prompts
        for variant in variants
    ]


def _rules(asked: Prompts) -> Iterator[Run]:
    """All rules on the same prompts, but vsd on few, and there by uniform timesteps, too."""
    others = [rule for rule in RULED if rule != "vsd"]
    for run in _varied("rules", asked.compared, (DEFAULT, *others), _SEEDS):
        yield run
        if run.variant == DEFAULT and run.prompt in asked.compared[:_FEW_PROMPTS]:
            yield replace(run, variant="vsd")
            yield replace(run, variant="vsd", schedule="uniform")


def _shuffled(schedules: Sequence[ScheduleName], key: str) -> list[ScheduleName]:
    """In an order of its own for each key: a machine that slows down or warms up shall favour none."""
    return random.Random(key).sample(schedules, len(schedules))


def _presets(asked: Prompts, presets: Mapping[PresetName, Effort]) -> Iterator[Run]:
    """All presets on the same prompts, and Standard on others, too."""
    for index, prompt in enumerate(asked.presets):
        for name in PRESETS if index < _COMMON else ("standard",):
            yield Run("presets", name, *presets[name], prompt, 0)


def meshed(runs: Sequence[Run]) -> set[Run]:
    """The runs whose field is also made a mesh: all parts and presets, and of "3d" a random _MESHES."""
    fields = [run for run in runs if run.suite == "3d"]
    drawn = random.Random(0).sample(fields, min(_MESHES, len(fields)))
    return {*drawn, *(run for run in runs if run.suite in ("parts", "presets"))}


def picture_of(run: Run, folder: Path) -> Path:
    """Where what a run made is to be seen. A prompt may be too long for a file's name, or hold a slash."""
    digest = hashlib.sha256(repr(run).encode()).hexdigest()[:8]
    told = re.sub(r"[^\w=.-]+", "_", f"{run.prompt} {run.variant} {run.schedule} {run.steps} {run.seed}")
    return folder / run.suite / f"{told[-_LETTERS:]}-{digest}.png"
