"""What a job's way is made of: stages, each of which takes what those before it made and adds its own.

A stage with steps is optimised at the `Desk`, which announces them, keeps checkpoints of what `Progress.state` says,
goes on from the newest, and halves the views at once where memory runs out. Its draws are seeded by `stage_seed`, so
it resumes to the same bits. A stage without steps is gone through again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch

from backend.checkpoints import Checkpoint
from backend.engine.fields import Field
from backend.engine.finite import NonFiniteError
from backend.engine.optimise import Progress, Resumption
from backend.engine.painting import Painting
from backend.engine.reference import Portrait, Reference
from backend.errors import NotFiniteError
from backend.mesh.asset import Asset
from backend.mesh.placement import Placement
from backend.pipeline.keeping import Keeper
from backend.pipeline.remedies import Remedies, fewer_views


@dataclass(frozen=True)
class Work:
    """What the stages of a job have made so far; None: nothing yet.

    field: the shape, in display colours. reference: the picture that it was to look like, if the job began from one.
    asset: where the artist's own mesh lies, if the job began from one; placement: what moves it into the unit sphere.
    painting: its colours, if they were painted. notes: sentences for the artist, what did not go as planned.
    """

    field: Field | None = None
    reference: Reference | None = None
    asset: Asset | None = None
    placement: Placement | None = None
    painting: Painting | None = None
    notes: tuple[str, ...] = ()


_T = TypeVar("_T")


def needed(made: _T | None) -> _T:
    """What an earlier stage has made. Raises ValueError where none has: the stages are in a wrong order."""
    if made is None:
        raise ValueError("a stage needs what no stage before it has made")
    return made


@dataclass(frozen=True)
class Status:
    """Where a job is: in which part of a stage, or before or after all. progress: of the optimisation in this part.

    shown: the field as it is when called, in display colours; call it before the next step.
    """

    part: str
    progress: Progress | None = None
    shown: Callable[[], Field] | None = None


Listener = Callable[[Status], None]


@dataclass(frozen=True)
class Optimisation:
    """One that was begun. shown: what `steps` have made so far, see `Status`. portrait: what they keep to, if any."""

    steps: Iterator[Progress]
    shown: Callable[[], Field]
    portrait: Portrait | None = None


@runtime_checkable
class Stage(Protocol):
    """parts: what it announces, in this order."""

    parts: ClassVar[tuple[str, ...]]

    def carry_out(self, work: Work, desk: "Desk") -> Work:
        """What is made so far when this stage has added its own to `work`."""
        ...


@runtime_checkable
class Optimising(Protocol):
    """A stage with steps, as the desk sees it.

    name: of its checkpoints and its draws. views: how many its model is shown at once, if memory allows.
    """

    name: ClassVar[str]

    @property
    def views(self) -> int: ...

    def fitting_views(self) -> int | None:
        """How many of them fit into the free memory at a time; None: all."""
        ...

    def begin(self, views_at_once: int | None = None, resume: Resumption | None = None) -> Optimisation:
        """The optimisation as new, or from where it was; its model is shown all views at once, or `views_at_once`."""
        ...


class Desk:
    """Where the stages of one job are carried out, in its folder `out`.

    found: checkpoints to go on from, by stage. `listen` hears of every part and step; what it raises ends the job.
    seconds: per part. step_seconds: of a step, per part with steps. losses: the terms of the last step. remedies: of
    all stages together.
    """

    def __init__(self, recipe: dict[str, Any], out: Path, found: dict[str, Checkpoint], listen: Listener) -> None:
        self.seconds: dict[str, float] = {}
        self.step_seconds: dict[str, float] = {}
        self.losses: dict[str, float] = {}
        self.remedies = Remedies()
        self._recipe, self._out, self._found, self._listen = recipe, out, found, listen
        self._part = ""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Announce what is done in here, and time it."""
        self._part = name
        self._listen(Status(name))
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 3)

    def optimised(self, stage: Optimising) -> Optimisation:
        """The optimisation of `stage`, carried to its end within the part under way. Raises NotFiniteError."""
        keeper = Keeper(self._out, stage.name)
        start = self._found.pop(stage.name, None)
        remedies = _remedies(start) if start else Remedies(stage.fitting_views())
        while True:
            resume = Resumption(start.step, start.tensors) if start else None
            optimisation = stage.begin(remedies.views_at_once, resume)
            try:
                last = self._followed(optimisation, keeper, remedies)
            except NonFiniteError as error:
                raise NotFiniteError(f"{error}; try another seed or a lower cfg") from error
            except (MemoryError, RuntimeError) as error:
                at_once = fewer_views(error, remedies.views_at_once or stage.views)
            else:
                if last:
                    remedies, self.losses = replace(remedies, left_out=last.left_out), last.losses
                elif start:  # all steps were done before
                    self.losses = start.facts["losses"]
                self.remedies = self.remedies.and_also(remedies)
                return optimisation
            # What held the memory of the failed step is gone only now that the error is.
            del optimisation
            torch.cuda.empty_cache()
            start = keeper.newest()
            remedies = replace(_remedies(start), views_at_once=at_once)
            if start:  # a run that is killed now must not meet the same shortage again
                keeper.keep(start.step, start.tensors.copy, {**start.facts, "remedies": asdict(remedies)})

    def _followed(self, optimisation: Optimisation, keeper: Keeper, remedies: Remedies) -> Progress | None:
        """Go through the steps with a checkpoint now and then and at the end; returns the last, if any was left."""
        progress, begun = None, time.monotonic()
        for taken, progress in enumerate(optimisation.steps):
            if not taken:  # the first step chooses kernels and fills caches
                begun = time.monotonic()
            self._listen(Status(self._part, progress, optimisation.shown))
            if progress.step == progress.steps or keeper.due():
                so_far = asdict(replace(remedies, left_out=progress.left_out))
                facts = {"recipe": self._recipe, "remedies": so_far, "losses": progress.losses}
                keeper.keep(progress.step, progress.state, facts)
            if taken:
                self.step_seconds[self._part] = (time.monotonic() - begun) / taken
        return progress


def _remedies(checkpoint: Checkpoint | None) -> Remedies:
    """Those that were found up to `checkpoint`."""
    return Remedies(**checkpoint.facts["remedies"]) if checkpoint else Remedies()
