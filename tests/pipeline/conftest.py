"""Fixtures of this room."""

from pathlib import Path

import pytest

from backend.pipeline import keeping
from backend.pipeline.generate import generate
from tests.pipeline.small_jobs import small_job


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("made")
    generate(small_job(), out, resume=False)
    return out


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "CHECKPOINT_SECONDS", 0.0)
