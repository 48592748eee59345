"""Jobs as both sides know them: what is asked for, how it stands, and what became of it.

Times are seconds since 1970, durations seconds.
"""

import uuid
from dataclasses import dataclass

from .assets import Asset
from .inputs import Start
from .limits import COARSE_BYTES, NAME_CHARACTERS, PREVIEW_BYTES, PROMPT_CHARACTERS, SEEDS, TEXT_CHARACTERS
from .prompts import tidied
from .records import Record, at_most, between, checked, each, matching, required, text
from .states import State

JOB_ID = matching(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
COUNT = between(0, 2**53 - 1)  # what JSON readers of every kind keep exact
TIME = between(0.0, 1e12)
NAME = text(NAME_CHARACTERS, 1)
SENTENCE = text(TEXT_CHARACTERS)
STATE = frozenset(State).__contains__


def new_job_id() -> str:
    """An id for a job, made by the client, so that a request sent twice is the same request."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Generation(Record):
    """What an artist asks for. None: as the preset has it. Whether it can be done is for the backend to say.

    prompt, negative: tidied, however they were typed. start: what it begins from; the backend has to have it already.
    strength: how far the result may leave a mesh, from 0 to 1. paint_only: of a mesh, its colours alone are made anew.
    sketch: of a picture, only its outline counts.
    """

    prompt: str = checked(text(PROMPT_CHARACTERS))
    negative: str = checked(text(PROMPT_CHARACTERS), "")
    model: str = checked(NAME, "builtin")
    preset: str = checked(NAME, "standard")
    seed: int = checked(between(0, SEEDS - 1), 0)
    steps: int | None = checked(COUNT, None)
    schedule: str | None = checked(NAME, None)
    field: str | None = checked(NAME, None)
    cfg: float | None = None
    faces: int | None = checked(COUNT, None)
    texture: int | None = checked(COUNT, None)
    level: float | None = None
    latent_field: bool = False
    shading: str = checked(NAME, "auto")
    start: Start | None = None
    strength: float | None = None
    paint_only: bool = False
    sketch: bool = False

    def __post_init__(self) -> None:
        for name in ("prompt", "negative"):
            object.__setattr__(self, name, tidied(getattr(self, name)))
        super().__post_init__()


@dataclass(frozen=True)
class Reason(Record):
    """Why a job failed. code: for programs. sentence and remedy: for the artist."""

    code: str = checked(NAME)
    sentence: str = checked(SENTENCE)
    remedy: str = checked(SENTENCE)


@dataclass(frozen=True)
class JobState(Record):
    """A job as it stands in the store.

    number: order of arrival. batch: the id of the first variation of one request. attempt: how often it was started.
    ahead: jobs that come before it, while it is queued. results: empty before it is done, and after they were
    removed because they were old. device: where it runs, while it does.
    """

    id: str = checked(JOB_ID)
    number: int = checked(COUNT)
    batch: str = checked(JOB_ID)
    state: str = checked(STATE)
    attempt: int = checked(COUNT)
    request: Generation = required()
    warnings: tuple[str, ...] = checked(each(SENTENCE, 4))
    created: float = checked(TIME)
    started: float | None = checked(TIME)
    finished: float | None = checked(TIME)
    ahead: int | None = checked(COUNT)
    reason: Reason | None = required()
    results: tuple[Asset, ...] = checked(at_most(16))
    acknowledged: bool = required()
    device: str = checked(SENTENCE, "")


@dataclass(frozen=True)
class Event(Record):
    """A job changed its state. seq: counts all events of the backend."""

    seq: int = checked(COUNT)
    job: str = checked(JOB_ID)
    state: str = checked(STATE)
    attempt: int = checked(COUNT)
    at: float = checked(TIME)


@dataclass(frozen=True)
class Live(Record):
    """Where a running job is; only the latest is kept.

    eta: seconds left. preview, coarse: bytes in the body that belong to this job, the picture first; 0 if there are
    none that the client has not seen. device: where it runs.
    """

    job: str = checked(JOB_ID)
    attempt: int = checked(COUNT)
    stage: str = checked(NAME)
    step: int | None = checked(COUNT)
    steps: int | None = checked(COUNT)
    t: int | None = checked(COUNT)
    eta: float | None = checked(between(0.0, 1e9))
    preview: int = checked(between(0, PREVIEW_BYTES))
    coarse: int = checked(between(0, COARSE_BYTES))
    device: str = checked(SENTENCE, "")
