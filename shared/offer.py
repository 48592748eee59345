"""What a backend offers: models and where their words are, presets and the time they take, choices and ranges.

It travels in the answer to HELLO, so that a client knows none of this by heart.
"""

from dataclasses import dataclass

from .assets import Asset
from .limits import NAME_CHARACTERS, WORDS_BYTES
from .records import Record, at_most, between, checked, each, required

MODELS, PRESETS, RANGES, FIELDS, POINTS = 64, 16, 16, 16, 64
"""How many of each an offer may hold. The message's header is smaller than all of them together would be."""

_LARGEST = 2**53 - 1  # what JSON readers of every kind keep exact


def _name(value: str) -> bool:
    return 1 <= len(value) <= NAME_CHARACTERS and value.isprintable()


@dataclass(frozen=True)
class OfferedPreset(Record):
    """How much work goes into an object, for one model on this backend's device.

    steps, schedule, field, cfg: of the optimisation. faces: triangles of the mesh, at most. texture: texels per side.
    seconds: how long a job will take once it runs, and step_seconds each step of it; None where nobody knows yet.
    """

    name: str = checked(_name)
    steps: int = checked(between(1, _LARGEST))
    faces: int = checked(between(1, _LARGEST))
    texture: int = checked(between(1, _LARGEST))
    field: str = checked(_name)
    schedule: str = checked(_name)
    cfg: float = checked(between(0, _LARGEST))
    seconds: float | None = checked(between(0, _LARGEST))
    step_seconds: float | None = checked(between(0, _LARGEST))

    def takes(self, steps: int | None) -> float | None:
        """Seconds of a job by it, but for so many steps if not None; None: nobody knows."""
        if self.seconds is None or steps is None or steps == self.steps:
            return self.seconds
        if self.step_seconds is None:
            return None
        return max(0.0, self.seconds + (steps - self.steps) * self.step_seconds)


@dataclass(frozen=True)
class OfferedModel(Record):
    """A model that requests can name.

    licence: as its author states it. size: bytes. latent: whether it can take a latent field. words: the file of those
    that it knows (see `words`), or None for a model that was taught on more than one can list.
    """

    name: str = checked(_name)
    licence: str = checked(_name)
    size: int = checked(between(0, _LARGEST))
    latent: bool = required()
    words: Asset | None = checked(lambda file: file.size <= WORDS_BYTES)
    presets: tuple[OfferedPreset, ...] = checked(at_most(PRESETS))


@dataclass(frozen=True)
class OfferedSchedule(Record):
    """At which noise level each step looks.

    timesteps: from the first step to the last, evenly spaced, to be drawn; none where they are drawn by lot, or not
    known yet.
    """

    name: str = checked(_name)
    timesteps: tuple[int, ...] = checked(each(between(0, _LARGEST), POINTS), ())


@dataclass(frozen=True)
class Range(Record):
    """The least and the most that a request's number `name` may be."""

    name: str = checked(_name)
    least: float = checked(between(-_LARGEST, _LARGEST))
    most: float = checked(between(-_LARGEST, _LARGEST))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise ValueError(f"the range of {self.name} is empty")


@dataclass(frozen=True)
class Offer(Record):
    """All that a request can choose from; the usual model comes first."""

    models: tuple[OfferedModel, ...] = checked(at_most(MODELS))
    schedules: tuple[OfferedSchedule, ...] = checked(at_most(PRESETS))
    fields: tuple[str, ...] = checked(each(_name, FIELDS))
    ranges: tuple[Range, ...] = checked(at_most(RANGES))
