"""The service with the engine itself: a real job over a real socket, and kill -9 in the middle of it."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.checkpoints import newest
from backend.pipeline.keeping import CHECKPOINTS
from backend.pipeline.shape import Shape
from shared.client import Client
from shared.connection import Patience
from shared.jobs import Generation, JobState, Live, new_job_id
from shared.states import State

PROMPT, STEPS, SEED = "a red mug", 800, 5
"""More than a fast machine takes in CHECKPOINT_SECONDS, after which the first checkpoint is made."""


@pytest.mark.long
def test_kill_nine_of_the_server_costs_what_came_after_the_last_checkpoint_and_changes_nothing(
    real_host: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairing = real_host.pairing
    job = new_job_id()
    with Client(pairing, "tests", Patience(120.0)) as client:
        client.submit((job,), Generation(PROMPT, preset="draft", steps=STEPS, seed=SEED))
        reached = reach(client, job, lambda: any(real_host.folder.rglob(f"{CHECKPOINTS}/{Shape.name}/step-*[0-9]")))
        real_host.end(signal.SIGKILL)
        (kept,) = real_host.folder.rglob(CHECKPOINTS)
        found = newest(kept / Shape.name)
        real_host.start()
        steps = [part.step for part in client.follow(job) if isinstance(part, Live) and part.step]
        state = client.state(job)
        assert (state.state, state.attempt) == (State.DONE, 2)
        client.fetch_all(state, tmp_path)
    with capsys.disabled():
        print(f"\nkill -9 of the server after step {reached} of {STEPS}: went on from {steps[0]}")
    assert found is not None
    assert 0 < found.step < steps[0]
    assert (tmp_path / "mesh.glb").read_bytes() == uninterrupted(tmp_path)


def reach(client: Client, job: str, enough: Callable[[], bool] = lambda: True) -> int:
    """Follow the job to its first step after which there is enough; the last step that was seen."""
    for part in client.follow(job):
        if isinstance(part, Live) and part.step and enough():
            return part.step
    raise AssertionError("the job ended too early")


def uninterrupted(folder: Path) -> bytes:
    """The mesh that the command line makes of the same request."""
    request = [PROMPT, "--preset", "draft", "--steps", str(STEPS), "--seed", str(SEED), "--out", str(folder / "alone")]
    command = [sys.executable, "-m", "backend", "generate", *request]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "alone" / "mesh.glb").read_bytes()


def test_a_real_job_from_submission_to_files(real_host: Any, tmp_path: Path) -> None:
    pairing = real_host.pairing
    with Client(pairing, "tests", Patience(120.0)) as client:
        first, second = new_job_id(), new_job_id()
        client.submit((first,), Generation(PROMPT, preset="draft"))
        reach(client, first)
        client.cancel(first)
        parts = list(client.follow(first))
        assert isinstance(parts[-1], JobState)
        assert parts[-1].state == State.CANCELLED
        client.submit((second,), Generation(PROMPT, preset="draft"))
        lives = [part for part in client.follow(second) if isinstance(part, Live)]
        assert any(part.preview for part in lives)
        assert any(part.coarse for part in lives)
        client.fetch_all(client.state(second), tmp_path)
    assert (tmp_path / "mesh.glb").read_bytes().startswith(b"glTF")
    assert (tmp_path / "preview.png").read_bytes().startswith(b"\x89PNG")
