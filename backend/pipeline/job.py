"""Everything that the answer to a request depends on.

`planned` turns what an artist asks for into a `Job`, which holds every choice that was left open, so
that the same job on the same machine gives the same object.
"""

import importlib.metadata
import platform
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch

from backend.engine.fields import SIZES
from backend.engine.names import FieldName, RuleName
from backend.engine.regularisers import Ramp
from backend.engine.settings import Settings, Shading
from backend.errors import UserError
from backend.guidance import folders, library
from backend.guidance.library import ModelSource
from backend.guidance.precision import Precision, best_precision
from backend.guidance.prompts import ViewMode
from backend.mesh import marching
from backend.mesh.asset import MeshSettings
from backend.mesh.names import ShadingName
from backend.pipeline.given import marked, read
from backend.pipeline.picture import reference
from backend.pipeline.presets import preset
from backend.pipeline.request import Request, check, check_values
from backend.pipeline.start import Start, facts, start_of
from backend.pipeline.tuning import Tuning, tuned
from backend.prior import words

_AGAIN = 0.5
"""The strength with which a shape's own colours are painted over."""

_PACKAGES = ("torch", "diffusers", "transformers", "tinycudann", marching.PACKAGE, "xatlas", "fast-simplification")


@dataclass(frozen=True)
class Job:
    """Everything that a result depends on, but for the versions of the programs.

    threads: CPU threads, because sums come out differently with another number of them. optimisation: of the first
    stage that has steps. painting: of the colours of a mesh that was made before, if they are made once more.
    """

    prompt: str
    negative: str
    seed: int
    preset: str
    model: ModelSource
    field: FieldName
    latent_field: bool
    view_mode: ViewMode
    perp_neg: bool
    device: str
    precision: Precision
    threads: int
    optimisation: Settings
    mesh: MeshSettings
    start: Start | None = None
    paint_only: bool = False
    painting: Settings | None = None

    def recipe(self) -> dict[str, Any]:
        """The job as JSON-compatible facts, with the versions of what will carry it out."""
        # Where the model lies is this machine's business.
        model = {"name": self.model.name, "revision": self.model.revision, "licence": self.model.licence}
        return {**asdict(self), **facts(self.start), "grids": SIZES, "model": model, "versions": versions()}

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
    check_values(request)  # at once: to look through a large model's files takes a while
    model = library.resolve(request.guidance)
    warnings = check(request, model)
    start = start_of(request)
    if start is not None:
        _look_at(start)
    device = chosen_device(request.device)
    small, multi_view = words.of(model.folder) is not None, folders.is_multi_view(model.folder)
    latent, takes_views = folders.is_latent(model.folder), folders.takes_views(model.folder)
    chosen = replace(preset(request.preset, small, device.type, latent, multi_view), **_overrides(request))
    tuning = tuned(chosen, small, takes_views, multi_view)
    optimisation, colours = _optimisations(request, tuning, start)
    job = Job(
        prompt=request.prompt,
        negative=request.negative,
        seed=request.seed,
        preset=request.preset,
        model=model,
        field=chosen.field,
        latent_field=request.latent_field,
        view_mode=tuning.view_mode,
        perp_neg=tuning.perp_neg,
        device=device.type,
        precision=best_precision(device),
        threads=torch.get_num_threads(),
        optimisation=optimisation,
        mesh=MeshSettings(
            chosen.resolution, chosen.faces, chosen.texture, request.level, cast(ShadingName, request.shading)
        ),
        start=start,
        paint_only=request.paint_only,
        painting=colours if chosen.paint and not request.paint_only else None,
    )
    return job, warnings


def _optimisations(request: Request, tuning: Tuning, start: Start | None) -> tuple[Settings, Settings]:
    """That of the first stage, and that of colours which are made once more."""
    optimisation, colours = tuning.optimisation, tuning.colours
    if request.rule is not None:
        optimisation, colours = (replace(each, rule=cast(RuleName, request.rule)) for each in (optimisation, colours))
    if request.latent_field:  # the channels of latents are no colours, so light means nothing to them
        optimisation = replace(optimisation, shading=Shading())
    if start is not None and start.kind == "mesh":
        optimisation = replace(colours if request.paint_only else _shaped(optimisation), strength=start.strength)
    return optimisation, replace(colours, strength=_AGAIN)


def _look_at(start: Start) -> None:
    """Say what is wrong with it now, not when a model has been loaded. Raises UserError."""
    if start.kind == "picture":
        reference(start)
    else:
        marked(start.mask, len(read(start.path).mesh.triangles))


def _shaped(optimisation: Settings) -> Settings:
    """For a field that starts as something: it is empty elsewhere, as deeply as it would be in the end."""
    depth = optimisation.depth
    return replace(optimisation, depth=depth and Ramp(depth.end, depth.end))


def _overrides(request: Request) -> dict[str, Any]:
    """What the request says otherwise than the preset."""
    names = ("steps", "schedule", "field", "cfg", "faces", "texture", "paint")
    found = {name: value for name in names if (value := getattr(request, name)) is not None}
    return found if request.cfg is None else found | {"paint_cfg": request.cfg}


def chosen_device(name: str) -> torch.device:
    """The device that `name` means here. Raises UserError if this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here; use --device cpu, or see dreamtime doctor")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("no Metal device here; use --device cpu, or see dreamtime doctor")
    return torch.device(name)
