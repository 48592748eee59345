"""When checkpoints are written, by a clock that only writing and working move."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backend import checkpoints
from backend.engine.fields import VoxelField
from backend.engine.hashgrid import HashGridField
from backend.pipeline.keeping import CHECKPOINT_SECONDS, SHARE, SMALL_BYTES, Keeper

STEP = 0.5
PROMISED = 15.0  # seconds of work that a kill may cost with the built-in model


class Run:
    """Steps of STEP seconds each, with checkpoints of `size` bytes that take what `costs` says of each."""

    def __init__(self, folder: Path, size: int, costs: Callable[[int], float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.written = 0.0, list[float]()
        self._state = {"x": torch.empty(size, dtype=torch.uint8)}
        self._costs = costs
        monkeypatch.setattr(checkpoints, "write", lambda *_: self._pass(costs(len(self.written))))
        self._keeper = Keeper(folder, "shape", clock=lambda: self.now)

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        self.written.append(self.now)

    def _copied(self) -> dict[str, Tensor]:
        return self._state

    def go(self, steps: int) -> "Run":
        for step in range(steps):
            self.now += STEP
            if self._keeper.due():
                self._keeper.keep(step, self._copied, {})
        return self

    @property
    def share(self) -> float:
        """Of all time, what was spent on writing."""
        return sum(self._costs(index) for index in range(len(self.written))) / self.now

    @property
    def longest(self) -> float:
        """Seconds between two checkpoints, or before the first."""
        return max(after - before for before, after in zip([0.0, *self.written], self.written, strict=False))


def test_a_large_checkpoint_takes_its_share_of_the_time_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, SMALL_BYTES + 1, lambda _: 0.5, monkeypatch).go(20_000)
    # Hours of a hash grid, whose first checkpoint comes before anybody knows what one costs.
    assert SHARE / 2 < run.share <= 1.01 * SHARE


def test_a_small_checkpoint_keeps_the_promise_on_any_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, SMALL_BYTES, lambda index: 4.0 if index % 3 else 0.02, monkeypatch).go(400)
    assert CHECKPOINT_SECONDS <= run.longest <= PROMISED


def test_voxels_have_small_checkpoints_and_hash_grids_have_not(generator: torch.Generator) -> None:
    voxels, hash_grid = (
        3 * sum(tensor.nbytes for tensor in field.state_dict().values())  # and Adam's two of each
        for field in (VoxelField(), HashGridField(generator))
    )
    assert voxels < SMALL_BYTES < hash_grid


def test_the_first_checkpoint_waits_until_there_is_something_to_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, 1, lambda _: 0.0, monkeypatch).go(int(CHECKPOINT_SECONDS / STEP) - 1)
    assert run.written == []
    assert run.go(1).written == [CHECKPOINT_SECONDS]


def test_what_a_stage_keeps_lies_in_a_folder_of_its_name(tmp_path: Path) -> None:
    shape, paint = (Keeper(tmp_path, stage) for stage in ("shape", "paint"))
    shape.keep(3, lambda: {"x": torch.ones(2)}, {"recipe": {}})
    paint.keep(1, lambda: {"x": torch.zeros(2)}, {"recipe": {}})
    found = [keeper.newest() for keeper in (shape, paint, Keeper(tmp_path, "mesh"))]
    assert [kept and kept.step for kept in found] == [3, 1, None]
