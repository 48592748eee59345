"""What is asked for, and everything that the answer depends on.

A `Request` is what an artist says; `planned` turns it into a `Job`, which holds every choice that was
left open, so that the same job on the same machine gives the same object.
"""

import importlib.metadata
import platform
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch

from backend.engine.schedules import NAMES as SCHEDULES
from backend.engine.settings import Settings, Shading
from backend.errors import UserError
from backend.guidance import folders, library
from backend.guidance.library import ModelSource
from backend.guidance.precision import Precision, best_precision
from backend.guidance.prompts import ViewMode
from backend.mesh.asset import MeshSettings
from backend.presets import FIELDS, PRESETS, preset
from backend.prior.vocabulary import UnknownObjectError, Vocabulary

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DEVICES: tuple[DeviceName, ...] = get_args(DeviceName)

LONGEST_PROMPT = 300
_RANGES = {
    "seed": (0, 2**31 - 1),
    "steps": (1, 1_000_000),
    "cfg": (0, 1000),
    "faces": (100, 1_000_000),
    "texture": (64, 8192),
    "level": (1e-3, 1e4),
}

_PACKAGES = ("torch", "diffusers", "transformers", "tinycudann", "PyMCubes", "xatlas", "fast-simplification")


@dataclass(frozen=True)
class Request:
    """What an artist asks for. None: as the preset has it."""

    prompt: str
    preset: str = "standard"
    guidance: str = library.BUILTIN
    negative: str = ""
    seed: int = 0
    steps: int | None = None
    schedule: str | None = None
    field: str | None = None
    cfg: float | None = None
    faces: int | None = None
    texture: int | None = None
    level: float | None = None
    latent_field: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class Job:
    """Everything that a result depends on, but for the versions of the programs.

    threads: CPU threads, because sums come out differently with another number of them.
    """

    prompt: str
    negative: str
    seed: int
    preset: str
    model: ModelSource
    field: str
    latent_field: bool
    view_mode: ViewMode
    perp_neg: bool
    device: str
    precision: Precision
    threads: int
    optimisation: Settings
    mesh: MeshSettings

    def recipe(self) -> dict[str, Any]:
        """The job as JSON-compatible facts, with the versions of what will carry it out."""
        # Where the model lies is this machine's business.
        model = {"name": self.model.name, "revision": self.model.revision, "licence": self.model.licence}
        return {**asdict(self), "model": model, "versions": versions()}

    def with_numerics_of(self, recipe: dict[str, Any]) -> "Job":
        """This job, computed in the precision and with the threads that `recipe` names."""
        return replace(self, precision=recipe["precision"], threads=recipe["threads"])


def versions() -> dict[str, str]:
    """Versions of Python, of the program and of the packages that results depend on; those installed."""
    found = {"python": platform.python_version()}
    for name in ("dreamtime", *_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def planned(request: Request) -> tuple[Job, list[str]]:
    """The job that answers `request`, and warnings for the artist. Raises UserError for what cannot be done."""
    _check(request)
    model = library.resolve(request.guidance)
    vocabulary = Vocabulary.of(model.folder)
    warnings = _understood(request, vocabulary) if vocabulary else []
    device = chosen_device(request.device)
    chosen = preset(request.preset, vocabulary is not None, device, request.field)
    if request.latent_field and not folders.is_latent(model.folder):
        raise UserError(f"{model.name} works on pixels and has no latents; leave out --latent-field")
    changed = {name: getattr(request, name) for name in ("steps", "schedule", "cfg")}
    optimisation = replace(chosen.optimisation, **_given(changed))
    if request.latent_field:  # the channels of latents are no colours, so light means nothing to them
        optimisation = replace(optimisation, shading=Shading())
    mesh = {name: getattr(request, name) for name in ("faces", "texture", "level")}
    job = Job(
        prompt=" ".join(request.prompt.split()),
        negative=" ".join(request.negative.split()),
        seed=request.seed,
        preset=request.preset,
        model=model,
        field=chosen.field,
        latent_field=request.latent_field,
        view_mode=chosen.view_mode,
        perp_neg=chosen.perp_neg,
        device=device.type,
        precision=best_precision(device),
        threads=torch.get_num_threads(),
        optimisation=optimisation,
        mesh=replace(chosen.mesh, **_given(mesh)),
    )
    return job, warnings


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check(request: Request) -> None:
    """Refuse what no model and no machine can do."""
    for name, text in (("prompt", request.prompt), ("negative prompt", request.negative)):
        if not " ".join(text.split()).isprintable():
            raise UserError(f"the {name} holds characters that are no text; type it anew")
        if len(text) > LONGEST_PROMPT:
            raise UserError(f"the {name} has {len(text)} characters; shorten it to {LONGEST_PROMPT}")
    if not request.prompt.strip():
        raise UserError('the prompt is empty; try "a red mug"')
    choices: dict[str, tuple[str, ...]] = {"preset": PRESETS, "schedule": SCHEDULES, "field": FIELDS, "device": DEVICES}
    for name, known in choices.items():
        value = getattr(request, name)
        if value is not None and value not in known:
            raise UserError(f'there is no {name} "{value}"; choose one of {", ".join(known)}')
    for name, (least, most) in _RANGES.items():
        value = getattr(request, name)
        if value is not None and not least <= value <= most:
            raise UserError(f"{name} is {value}; give a number from {least:,} to {most:,}")


def _understood(request: Request, vocabulary: Vocabulary) -> list[str]:
    """Warnings about words without effect; a prompt without an object that the model knows is refused."""
    try:
        warnings = [vocabulary.knows(request.prompt).warning]
    except UnknownObjectError as error:
        raise UserError(str(error)) from error
    unknown = vocabulary.unknown(request.negative)
    if unknown:
        warnings.append(f"the negative prompt's {', '.join(map(repr, unknown))} will have no effect")
    return [warning for warning in warnings if warning]


def chosen_device(name: str) -> torch.device:
    """The device that `name` means here. Raises UserError if this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here; use --device cpu, or see python -m backend doctor")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("no Metal device here; use --device cpu, or see python -m backend doctor")
    return torch.device(name)
