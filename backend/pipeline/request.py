"""What an artist asks for, and what is wrong with it. Nothing here imports torch: the server checks requests, too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from backend.engine.names import FIELDS, RULES, SCHEDULES
from backend.errors import UserError
from backend.guidance import folders, library
from backend.guidance.library import ModelSource
from backend.mesh.names import SHADINGS
from backend.pipeline.presets import PRESETS
from backend.prior import words
from backend.prior.lexicon import Lexicon
from shared.limits import PROMPT_CHARACTERS
from shared.prompts import control_character, is_unicode, tidied

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DEVICES: tuple[DeviceName, ...] = get_args(DeviceName)

RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "steps": (1, 1_000_000),
    "cfg": (0, 1000),
    "faces": (100, 1_000_000),
    "texture": (64, 8192),
    "level": (1e-3, 1e4),
    "strength": (0.01, 1),
}
"""The least and the most of every number in a request."""


@dataclass(frozen=True)
class Request:
    """What an artist asks for. None: as the preset has it. prompt, negative: tidied, however they were typed.

    start: the file of a mesh or a picture to begin from. strength: how far the result may leave a mesh, in (0, 1].
    paint_only: its colours alone are made, its triangles and texture coordinates stay. paint: whether the colours of
    what comes out are made once more, finely. sketch: of a picture only the outline counts. mask: a file that says
    which part counts: of a picture a second one, white where the object is; of a mesh the numbers of the triangles to
    paint, as text.
    """

    prompt: str
    preset: str = "standard"
    guidance: str = library.BUILTIN
    negative: str = ""
    seed: int = 0
    steps: int | None = None
    schedule: str | None = None
    field: str | None = None
    cfg: float | None = None
    rule: str | None = None
    faces: int | None = None
    texture: int | None = None
    level: float | None = None
    shading: str = "auto"
    latent_field: bool = False
    device: str = "auto"
    start: Path | None = None
    strength: float | None = None
    paint_only: bool = False
    paint: bool | None = None
    sketch: bool = False
    mask: Path | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "negative"):
            object.__setattr__(self, name, tidied(getattr(self, name)))


def check_values(request: Request) -> None:
    """Raise UserError for what no model and no machine can do."""
    for name, text in (("prompt", request.prompt), ("negative prompt", request.negative)):
        if not is_unicode(text):
            raise UserError(
                f"the {name} holds letters that this locale does not know; type it anew under one of UTF-8, "
                "such as LC_ALL=C.UTF-8"
            )
        if character := control_character(text):
            raise UserError(f"the {name} holds the control character {character}; type it anew without it")
        if len(text) > PROMPT_CHARACTERS:
            raise UserError(f"the {name} has {len(text)} characters; shorten it to {PROMPT_CHARACTERS}")
    if not request.prompt:
        raise UserError('the prompt is empty; try "a red mug"')
    choices: dict[str, tuple[str, ...]] = {
        "preset": PRESETS,
        "schedule": SCHEDULES,
        "field": FIELDS,
        "rule": RULES,
        "shading": SHADINGS,
        "device": DEVICES,
    }
    for name, known in choices.items():
        value = getattr(request, name)
        if value is not None and value not in known:
            raise UserError(f'there is no {name} "{value}"; choose one of {", ".join(known)}')
    for name, (least, most) in RANGES.items():
        value = getattr(request, name)
        if value is not None and not least <= value <= most:
            raise UserError(f"{name} is {value}; give a number from {least:,} to {most:,}")
    check_start(request)


def check_start(request: Request) -> None:
    """Raise UserError for what makes no sense with the start that is named, or without one."""
    needing = {name: bool(getattr(request, name)) for name in ("strength", "paint_only", "sketch", "mask")}
    if request.start is None and (name := next((name for name, asked in needing.items() if asked), None)):
        raise UserError(f"--{name.replace('_', '-')} needs something to begin from; name it with --start")
    if request.latent_field and (request.start is not None or request.paint):
        raise UserError("a latent field cannot begin from something, nor be painted; leave out the latent field")
    if request.paint_only and request.sketch:
        raise UserError("only a mesh can be painted, and only a picture be a sketch; leave one of both out")


def check(request: Request, model: ModelSource) -> list[str]:
    """Warnings about words that `model` does not know. Raises UserError for what cannot be done with it."""
    check_values(request)
    if request.latent_field and not folders.is_latent(model.folder):
        raise UserError(f"{model.name} works on pixels and has no latents; leave out the latent field")
    known = words.of(model.folder)
    if request.rule == "bridge" and known:
        raise UserError(f"{model.name} was taught no words for good and bad pictures; choose another rule than bridge")
    return _understood(request, known) if known else []


def _understood(request: Request, known: Lexicon) -> list[str]:
    """Warnings about words without effect; a prompt without an object that the model knows is refused."""
    warnings = [known.knows(request.prompt).warning]
    unknown = known.unknown(request.negative)
    if unknown:
        warnings.append(f"the negative prompt's {', '.join(map(repr, unknown))} will have no effect")
    return [warning for warning in warnings if warning]
