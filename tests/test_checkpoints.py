import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backend import checkpoints
from backend.checkpoints import Checkpoint, CorruptCheckpointError, flat, under


def saved(step: int) -> Checkpoint:
    return Checkpoint(step, {"x": torch.full((3,), float(step))}, {"seconds": step / 2})


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, saved(7))
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.step, found.facts) == (7, {"seconds": 3.5})
    torch.testing.assert_close(found.tensors, saved(7).tensors)


def test_groups_of_tensors_come_out_as_they_went_in() -> None:
    one, two, three = torch.arange(3).split(1)
    together = flat({"optimiser.1": {"step": one, "a.b": two}, "optimiser.10": {"step": three}})
    assert len(together) == 3
    assert under("optimiser.1", together) == {"step": one, "a.b": two}
    assert under("optimiser.10", together) == {"step": three}
    assert under("optimiser.2", together) == {}


def test_an_empty_or_missing_folder_has_none(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "missing") is None


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        checkpoints.write(tmp_path, saved(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003", "step-000000010"]


@pytest.mark.parametrize("name", ["tensors.safetensors", "facts.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.write(tmp_path, saved(1))
    checkpoints.write(tmp_path, saved(2))
    path = tmp_path / "step-000000002" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else bytes(content))
    with caplog.at_level(logging.WARNING):
        found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert "step-000000002" in caplog.text
    with pytest.raises(CorruptCheckpointError):
        checkpoints.read(path.parent)


def test_leftovers_of_a_killed_writer_are_ignored_and_removed(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, saved(1))
    leftover = tmp_path / "step-000000002.partial"
    leftover.mkdir()
    (leftover / "tensors.safetensors").write_bytes(b"half")
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1
    checkpoints.write(tmp_path, saved(3))
    assert not leftover.exists()


WRITER = """
import sys, torch
from pathlib import Path
from backend import checkpoints
for step in range(1, 100_000):
    checkpoints.write(Path(sys.argv[1]), checkpoints.Checkpoint(step, {"x": torch.full((50_000,), float(step))}, {}))
    print(step, flush=True)
"""


def test_a_kill_at_any_moment_leaves_the_last_finished_checkpoint(tmp_path: Path, generator: torch.Generator) -> None:
    finished = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(int(torch.randint(2, 12, (1,), generator=generator))):
            finished = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.communicate()[0].split()
        finished = int(rest[-1]) if rest else finished
        found = checkpoints.newest(tmp_path)
        assert found is not None
        # The one under way when the kill came may have made it; an earlier one must not be all there is.
        assert finished <= found.step <= finished + 1
        assert torch.equal(found.tensors["x"], torch.full((50_000,), float(found.step)))
        for path in tmp_path.glob("step-*"):
            for part in path.iterdir():
                part.unlink()
            path.rmdir()
