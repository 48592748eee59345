"""Jobs of few steps for the tests of this room, and what they leave."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.mesh.asset import MeshSettings
from backend.pipeline.generate import generate
from backend.pipeline.job import Job, planned
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.request import Request
from backend.pipeline.shape import Shape
from backend.pipeline.stages import Status

PROMPT = "a red mug"
STEPS = 24
SMALL = MeshSettings(resolution=48, faces=800, texture=128)


def small_job(apart: bool = False, **changes: Any) -> Job:
    """apart: its views do not see each other, so that a model can be shown them one by one."""
    job, _ = planned(Request(PROMPT, preset="draft", device="cpu", **{"steps": STEPS, **changes}))
    settings = replace(job.optimisation, joint_views=1) if apart else job.optimisation
    return replace(job, mesh=SMALL, optimisation=settings)


def shape_of(out: Path) -> Path:
    """The checkpoints of the stage that optimises."""
    return out / CHECKPOINTS / Shape.name


def stopped(out: Path, at: int, **changes: Any) -> None:
    """A run that is interrupted after `at` steps, with a checkpoint of each."""

    def stop(status: Status) -> None:
        if status.progress and status.progress.step > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(small_job(**changes), out, False, stop)


def interrupting(*_: Any) -> None:
    raise KeyboardInterrupt
