"""A user study: one HTML page on which people compare what two arms of a suite made, not knowing which is which.

The page needs no server and no other file. It holds the key that tells its pictures apart, and every file of answers
holds it again, so that answers are counted by themselves. Nobody reads the key by accident, but it is no secret.
"""

import base64
import hashlib
import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from backend.errors import UnwritableError, UserError
from backend.evaluation import rows
from backend.evaluation.runs import Run, Suite, picture_of
from backend.files import write_whole
from shared.records import Record, at_most, checked, each, from_json, matching, text, to_json

FORMAT = 1
"""Of the files of answers."""

QUESTIONS: Mapping[str, str] = {"fits": "Which fits the words better?", "looks": "Which looks better?"}
MOST_PAIRS = 500

_PAGE = Path(__file__).parent / "study.html"
_PIXELS = 320
"""Views of 64 pixels are enlarged to as many here, as browsers do it less smoothly."""
_QUALITY = 85  # of WebP
_TURN_MS = 5600


@dataclass(frozen=True)
class Key(Record):
    """Which picture of each pair is of which arm. exchanged: whether the second arm's comes first on the page.

    pictures: the SHA-256 of all of them.
    """

    arms: tuple[str, ...] = checked(each(text(200, 1), most=2, least=2))
    prompts: tuple[str, ...] = checked(each(text(10_000), MOST_PAIRS, least=1))
    exchanged: tuple[bool, ...] = checked(at_most(MOST_PAIRS))
    pictures: str = checked(matching("[0-9a-f]{64}"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.prompts) != len(self.exchanged):
            raise ValueError("prompts and exchanged differ in length")

    def encoded(self) -> str:
        """As text that says nothing at a glance."""
        return base64.b64encode(json.dumps(to_json(self)).encode()).decode()

    @classmethod
    def decoded(cls, encoded: str) -> "Key":
        """The key that was `encoded`. Raises ValueError, or RecursionError for what is nested too deeply."""
        return from_json(cls, json.loads(base64.b64decode(encoded, validate=True)))


@dataclass(frozen=True)
class Pair:
    """What both arms made of a prompt by one seed."""

    prompt: str
    pictures: tuple[Path, Path]


@dataclass(frozen=True)
class Study:
    """The arms, by name, and their pairs."""

    arms: tuple[str, str]
    pairs: Sequence[Pair]


def drawn(folder: Path, suite: Suite, arms: str, most: int) -> Study:
    """The pairs to be shown: those of the first seed, then of the next, up to `most`. Raises UserError.

    arms: two names and a comma between them, see `_runs_of`.
    """
    made = rows.read(rows.path_of(folder, suite))
    if not made:
        raise UserError(f"{folder} holds no rows of {suite}: run that suite first, or name another --suite or --out")
    names = [name.strip() for name in arms.split(",")]
    if len(names) != 2:
        raise UserError(f'"{arms}" are not two arms; try --arms time_prior,uniform')
    first, second = (_runs_of(made, suite, name) for name in names)
    both = sorted((key for key in first if key in second), key=lambda key: key[1])
    pairs = [Pair(key[0], (picture_of(first[key], folder), picture_of(second[key], folder))) for key in both]
    shown = [pair for pair in pairs if all(picture.exists() for picture in pair.pictures)]
    if not shown:
        why = "their pictures are not there" if pairs else "no prompt and seed is of both"
        raise UserError(f"{folder} holds no pairs of {names[0]} and {names[1]} to show: {why}")
    return Study((_label(names[0], first), _label(names[1], second)), shown[:most])


def _runs_of(made: Iterable[Run], suite: Suite, arm: str) -> dict[tuple[str, int], Run]:
    """The runs of an arm, by prompt and seed. It is named by a variant, a schedule or a number of steps, or by several
    of them with slashes between; of all numbers of steps the largest is meant where none is named.
    """
    words = {word.strip() for word in arm.split("/")}
    named = [run for run in made if words <= {run.variant, run.schedule, str(run.steps)}]
    kinds = sorted({f"{run.variant}/{run.schedule}" for run in named or made})
    if not named:
        raise UserError(f'no run of {suite} is "{arm}"; there are {", ".join(kinds)}')
    if len(kinds) > 1:
        raise UserError(f'"{arm}" is more than one arm of {suite}: say which of {", ".join(kinds)}')
    largest = max(run.steps for run in named)
    return {(run.prompt, run.seed): run for run in named if run.steps == largest}


def _label(arm: str, runs: Mapping[tuple[str, int], Run]) -> str:
    steps = next(iter(runs.values())).steps
    return arm if str(steps) in arm.split("/") else f"{arm}/{steps}"


def write(study: Study, path: Path) -> None:
    """Write the page. Raises UserError, also for a name that does not end in .html: it replaces what is there."""
    if path.suffix != ".html":
        raise UserError(f"a page's name ends in .html: try --study {path.with_suffix('.html')}")
    page = _page(study).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)
    except OSError as error:
        raise UnwritableError(f"cannot write {path} ({error.strerror}); name another file with --study") from error


def _page(study: Study) -> str:
    pictures = [[_turntable(picture) for picture in pair.pictures] for pair in study.pairs]
    digest = hashlib.sha256(json.dumps(pictures).encode()).hexdigest()
    coin = random.Random(digest)
    exchanged = [coin.random() < 0.5 for _ in study.pairs]
    key = Key(study.arms, tuple(pair.prompt for pair in study.pairs), tuple(exchanged), digest).encoded()
    content = {
        "format": FORMAT,
        "id": hashlib.sha256(key.encode()).hexdigest()[:16],
        "key": key,
        "turn_ms": _TURN_MS,
        "questions": [{"id": name, "text": asked} for name, asked in QUESTIONS.items()],
        "pairs": [
            {"prompt": pair.prompt, "pictures": shown[::-1] if swap else shown}
            for pair, shown, swap in zip(study.pairs, pictures, exchanged, strict=True)
        ],
    }
    return _PAGE.read_text("utf-8").replace("STUDY", json.dumps(content).replace("<", r"\u003c"), 1)


def _turntable(path: Path) -> dict[str, Any]:
    """The square views of a strip, enlarged, as a page can hold them."""
    encoded = io.BytesIO()
    try:
        with Image.open(path) as strip:
            frames = strip.width // strip.height
            enlarged = strip.convert("RGB").resize((frames * _PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no picture of a run ({error}): remove it, and its pair is left out") from error
    enlarged.save(encoded, "WEBP", quality=_QUALITY)
    return {"frames": frames, "data": f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}"}
