"""The coarse mesh in real Blenders' viewports."""

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "in_blender"


def test_a_coarse_mesh_is_shown_and_gone_without_a_trace(
    blender: Path, run_blender: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    assert "shown and gone as it should be" in run_blender(blender, HERE / "coarse.py", tmp_path)
