"""Stages one after another, the second of which is made up here: to add a stage takes no more than this."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.engine.fields import Field
from backend.engine.finite import NonFiniteError
from backend.engine.optimise import Progress, Resumption
from backend.engine.randomness import generator, stage_seed
from backend.errors import NotFiniteError
from backend.pipeline import keeping
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.stages import Desk, Optimisation, Stage, Status, Work, needed

SEED, STEPS = 5, 6
RECIPE = {"seed": SEED}


@dataclass(frozen=True)
class Fog:
    """A field of one colour."""

    grey: float = 0.0

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return torch.zeros(len(x))

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return torch.full_like(x, self.grey)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        return self.density(x), self.colour(x)


@dataclass
class First:
    """A stage that adds up draws, one a step. begun: what it was begun with, each time."""

    name: ClassVar[str] = "first"
    parts: ClassVar[tuple[str, ...]] = ("one",)
    views = 4
    begun: list[tuple[int | None, int]] = field(default_factory=list)
    hungry: bool = False
    """Whether memory runs out in the fourth step unless views are fewer than three at a time."""

    def carry_out(self, work: Work, desk: Desk) -> Work:
        with desk.part(*self.parts):
            shown = desk.optimised(self).shown()
        return replace(work, field=shown, notes=(*work.notes, self.name))

    def fitting_views(self) -> int | None:
        return None

    def begin(self, views_at_once: int | None = None, resume: Resumption | None = None) -> Optimisation:
        total = resume.tensors["total"].clone() if resume else torch.zeros(1)
        start = resume.step if resume else 0
        self.begun.append((views_at_once, start))
        return Optimisation(self._steps(total, start, views_at_once), lambda: Fog(total.item()))

    def _steps(self, total: Tensor, start: int, views_at_once: int | None) -> Iterator[Progress]:
        def state() -> dict[str, Tensor]:
            return {"total": total.clone()}

        for step in range(start, STEPS):
            if self.hungry and step == 3 and (views_at_once or self.views) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            total += torch.rand(1, generator=generator(stage_seed(SEED, self.name), step, "draw"))
            yield Progress(step + 1, STEPS, 500, {self.name: step}, 1, unseen, state)


def unseen(*_: Any) -> Any:
    raise AssertionError("nobody looks")


@dataclass
class Second(First):
    name: ClassVar[str] = "second"
    parts: ClassVar[tuple[str, ...]] = ("two",)


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "CHECKPOINT_SECONDS", 0.0)


def found(out: Path) -> dict[str, Checkpoint]:
    kept = {name: checkpoints.newest(out / CHECKPOINTS / name) for name in ("first", "second")}
    return {name: checkpoint for name, checkpoint in kept.items() if checkpoint}


def gone_through(out: Path, *stages: Stage, until: tuple[str, int] | None = None) -> tuple[Work, Desk, list[str]]:
    """What `stages` make in `out`, from what is kept there; until: the part and step in which they are broken off."""
    heard: list[str] = []

    def listen(status: Status) -> None:
        heard.append(f"{status.part} {status.progress.step}" if status.progress else status.part)
        if status.progress and (status.part, status.progress.step) == until:
            raise KeyboardInterrupt

    desk, work = Desk(RECIPE, out, found(out), listen), Work()
    for stage in stages:
        work = stage.carry_out(work, desk)
    return work, desk, heard


def grey(made: Field | None) -> float:
    return needed(made).colour(torch.zeros(1, 3))[0, 0].item()


def test_stages_follow_each_other_and_add_to_what_was_made(tmp_path: Path) -> None:
    work, desk, heard = gone_through(tmp_path, First(), Second())
    assert work.notes == ("first", "second")
    assert heard == ["one", *(f"one {step}" for step in range(1, 7)), "two", *(f"two {step}" for step in range(1, 7))]
    assert list(desk.seconds) == ["one", "two"]
    assert desk.losses == {"second": STEPS - 1}
    assert desk.remedies.left_out == 2
    alone, *_ = gone_through(tmp_path / "alone", First())
    assert grey(work.field) != grey(alone.field), "each stage has its own draws"


@pytest.mark.parametrize("until", [("one", 3), ("one", STEPS), ("two", 1), ("two", 4)])
def test_a_job_goes_on_in_the_stage_in_which_it_was_broken_off(tmp_path: Path, until: tuple[str, int]) -> None:
    whole, *_ = gone_through(tmp_path / "whole", First(), Second())
    with pytest.raises(KeyboardInterrupt):
        gone_through(tmp_path, First(), Second(), until=until)
    work, desk, heard = gone_through(tmp_path, First(), Second())
    part, step = until
    assert next(one for one in heard if " " in one) == f"{part} {step}"  # that of which there is no checkpoint
    assert grey(work.field) == grey(whole.field)
    assert (desk.losses, desk.remedies.left_out) == ({"second": STEPS - 1}, 2)


def test_memory_that_runs_out_in_one_stage_makes_that_stage_lean(tmp_path: Path) -> None:
    first, second = First(), Second(hungry=True)
    work, desk, _ = gone_through(tmp_path, first, second)
    assert first.begun == [(None, 0)]
    assert second.begun == [(None, 0), (2, 3)]
    assert desk.remedies.views_at_once == 2
    whole, *_ = gone_through(tmp_path / "whole", First(), Second())
    assert grey(work.field) == grey(whole.field)


def test_numbers_that_are_not_finite_end_a_stage_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(*_: Any) -> Iterator[Progress]:
        raise NonFiniteError(3, "gradient")
        yield

    monkeypatch.setattr(Second, "_steps", spoilt)
    with pytest.raises(NotFiniteError, match=r"at step 3, .*; try another seed or a lower cfg"):
        gone_through(tmp_path, First(), Second())
    assert set(found(tmp_path)) == {"first"}


def test_a_stage_that_comes_too_early_is_a_mistake() -> None:
    assert needed(Fog()) == Fog()
    with pytest.raises(ValueError, match="no stage before it has made"):
        needed(Work().field)
