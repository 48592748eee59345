"""How long it takes to make objects that begin from something, and with how much memory.

Each in a process of its own, for the memory of a process only grows.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from backend.benches.engine import Row, commanded
from backend.evaluation.beginnings import begun
from backend.evaluation.runs import BEGINNINGS, Beginning
from backend.mesh.glb import read_glb
from backend.pipeline.results import MESH, REPORT

_OPTIONS: dict[Beginning, tuple[str, ...]] = {"paint": ("--paint-only",), "sketch": ("--sketch",)}


def start_rows(preset: str, device: str) -> Iterator[Row]:
    """Seconds of all that is done, and the most memory. What is begun from is made of what came from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        for beginning in BEGINNINGS:
            out = Path(folder) / beginning
            out.mkdir()
            options = [] if beginning == "nothing" else _started(beginning, Path(folder) / "nothing" / MESH, out)
            done = commanded(["--preset", preset, "--device", device, *options], out).wait() == 0
            yield (f"{preset}, begun from: {beginning}", _spent(out) if done else "failed")
            if not done and beginning == "nothing":
                return


def _started(beginning: Beginning, made: Path, out: Path) -> list[str]:
    start = begun(beginning, read_glb(made)[0], out)
    return ["--start", str(start), *_OPTIONS.get(beginning, ())]


def _spent(out: Path) -> str:
    report = json.loads((out / REPORT).read_text("utf-8"))
    return f"{sum(report['seconds'].values()):.1f} s, at most {report['peak_memory'] / 2**30:.2f} GiB"
