"""The checkpoints of a job in progress: where they lie, when the next is due, and whether they are this job's.

Each stage keeps its own, in a folder of its name.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.errors import OtherRunError
from backend.pipeline.job import Job
from backend.pipeline.pace import Pace

logger = logging.getLogger(__name__)

CHECKPOINTS = ".dreamtime"
"""Where they lie, within the job's folder."""

CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints at least."""

SHARE = 0.01
"""Of the time of an optimisation that checkpoints may take."""

SMALL_BYTES = 24 * 2**20
"""A checkpoint up to this size, as all of the built-in model's are, does not wait for its share: on most disks it takes
less, and on one that stalls a kill shall not cost more than CHECKPOINT_SECONDS and a step."""

_VERSIONS = "the run in {out} was started with other versions of the program; leave out --resume"


class Keeper:
    """Keeps the checkpoints of one stage of a job, whose folder is `out`."""

    def __init__(self, out: Path, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = out / CHECKPOINTS / stage
        self._clock = clock
        self._pace = Pace(SHARE, CHECKPOINT_SECONDS)
        self._pace.made(clock(), clock())  # at the beginning there is nothing to lose

    def newest(self) -> Checkpoint | None:
        """The newest intact one, or None."""
        return checkpoints.newest(self._folder)

    def due(self) -> bool:
        """Whether it is time for one."""
        return self._pace.due(self._clock())

    def keep(self, step: int, state: Callable[[], dict[str, Tensor]], facts: dict[str, Any]) -> None:
        """Write a checkpoint now."""
        begun = self._clock()
        tensors = state()
        checkpoints.write(self._folder, Checkpoint(step, tensors, facts))
        ended = self._clock()
        small = sum(tensor.nbytes for tensor in tensors.values()) <= SMALL_BYTES
        self._pace.made(ended if small else begun, ended)


def begun(job: Job, out: Path, resume: bool) -> tuple[Job, dict[str, Checkpoint]]:
    """The job as it was begun in `out`, in its precision and with its threads, and each stage's newest checkpoint.

    Without `resume` it begins now, and what is kept is removed. Raises OtherRunError if that is not this job's.
    """
    if not resume:
        clear(out)
        return job, {}
    _refuse_former(out)
    found = {path.name: kept for path in _folders(out) if (kept := checkpoints.newest(path))}
    if not found:
        logger.warning("no checkpoint in %s: starting from the beginning", out)
    for checkpoint in found.values():
        theirs = checkpoint.facts["recipe"]
        job = job.with_numerics_of(theirs)
        _refuse_other(job, theirs, out)
    return job, found


def clear(out: Path) -> None:
    """Remove all checkpoints of the job in `out`, and the folders that held nothing else."""
    for folder in (*_folders(out), out / CHECKPOINTS):
        checkpoints.clear(folder)


def _folders(out: Path) -> list[Path]:
    return [path for path in (out / CHECKPOINTS).glob("*") if path.is_dir()]


def _refuse_former(out: Path) -> None:
    """Raise OtherRunError for checkpoints of versions whose jobs had one stage, and no folder for it."""
    if checkpoints.newest(out / CHECKPOINTS):
        raise OtherRunError(_VERSIONS.format(out=out))


def _refuse_other(job: Job, theirs: dict[str, Any], out: Path) -> None:
    """Raise OtherRunError if the recipe `theirs` is not that of `job`."""
    ours = json.loads(json.dumps(job.recipe()))
    if ours["versions"] != theirs["versions"] or not _alike(ours, theirs):
        raise OtherRunError(_VERSIONS.format(out=out))
    if ours != theirs:
        differing = ", ".join(sorted(_differences(ours, theirs)))
        raise OtherRunError(
            f"the run in {out} was started with other settings ({differing}); "
            "repeat them, or leave out --resume to start anew"
        )


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two recipes tell of the same, whatever they say of it. What a job leaves out, None, tells of nothing."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return True
    return ours.keys() == theirs.keys() and all(_alike(ours[name], theirs[name]) for name in ours)


def _differences(ours: Any, theirs: Any, name: str = "") -> Iterator[str]:
    """What differs between two recipes: "steps (180, now 60)"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            yield from _differences(ours.get(key), theirs.get(key), key)
    elif isinstance(ours, dict) or isinstance(theirs, dict):
        yield name
    elif ours != theirs:
        yield f"{name} ({theirs}, now {ours})"
