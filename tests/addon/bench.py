"""How much of Blender's time the add-on takes: .venv/bin/python tests/addon/bench.py

In each Blender that is here as a Python module: an import of 100,000 faces with a 2048 x 2048 texture, the pump's ticks
while a job of the built-in model streams previews and coarse meshes, and disabling with a backend that hangs.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from backend import machine
from backend.benches.service import backend
from backend.home import VARIABLE
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.glb import write_glb

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "in_blender" / "bench.py"
INSTALL = """
import runpy, sys, bpy
archive, *sys.argv = sys.argv[1:]
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
AROUND, ALONG = 250, 201


def ball() -> Asset:
    """A ball of 100,000 triangles; its texture has the detail of a baked one."""
    u, v = np.meshgrid(np.linspace(0, 1, AROUND + 1), np.linspace(0, 1, ALONG), indexing="ij")
    longitude, latitude = 2 * np.pi * u, np.pi * (0.02 + 0.96 * v)
    vertices = np.stack(
        [np.sin(latitude) * np.cos(longitude), np.sin(latitude) * np.sin(longitude), np.cos(latitude)], axis=-1
    )
    index = np.arange(u.size).reshape(u.shape)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate([np.stack(part, axis=-1).reshape(-1, 3) for part in ((a, b, c), (a, c, d))])
    uvs = np.stack([u, v], axis=-1).reshape(-1, 2)[triangles]
    rows, columns = np.mgrid[0:2048, 0:2048]
    waves = 128 + 90 * np.sin(columns / 37) * np.cos(rows / 53) + np.random.default_rng(0).normal(0, 2, rows.shape)
    texture = np.stack([waves, waves[::-1], waves[:, ::-1]], axis=-1).clip(0, 255).astype(np.uint8)
    mesh = TriangleMesh(vertices.reshape(-1, 3).astype(np.float32), triangles.astype(np.int32))
    return Asset(mesh, uvs.astype(np.float32), texture, shaded(mesh, "auto"))


def measured(python: Path, generation: str, folder: Path) -> dict[str, float]:
    """What in_blender/bench.py measures in one Blender."""
    sys.path.insert(0, str(ROOT))
    build_addon = importlib.import_module("build_addon")
    target = build_addon.Target(generation, "linux-x64")
    (archive,) = build_addon.build(folder, [target], None, offline=False, backend=False)
    with backend() as (_, pid, home):
        own = {
            "BLENDER_USER_RESOURCES": str(folder / generation),
            VARIABLE: str(home),
            "PYTHONPATH": str(SCRIPT.parent),
        }
        printed = subprocess.run(
            [python, "-c", INSTALL, archive, SCRIPT, folder, str(pid)],
            env={**os.environ, **own},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    return json.loads(next(line for line in printed.splitlines() if line.startswith("figures ")).partition(" ")[2])


def main() -> None:
    print(f"{machine.described()}\n\n| measured | Blender 4.5 | Blender 5.2 |\n|---|---|---|")
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        write_glb(ball(), Path(folder) / "mesh.glb", "Ball", {"seed": 0})
        for environment, generation in ((".venv-bpy", "4.5"), (".venv-bpy52", "5.1")):
            python = ROOT / environment / "bin" / "python"
            columns.append(measured(python, generation, Path(folder)) if python.exists() else {})
    rows = {
        "import, {faces:,.0f} faces, 2048² texture": "{import:.2f} s",
        "pump's tick, {ticks:.0f} with {previews:.0f} previews": "median {tick median:.5f} s, p99 {tick p99:.4f} s",
        "longest tick": "{tick longest:.3f} s; with the import of the result {tick with the import:.2f} s",
        "disabling with a backend that hangs": "{end with a dead backend:.2f} s",
    }
    for name, value in rows.items():
        cells = [value.format_map(figures) if figures else "not here" for figures in columns]
        print(f"| {name.format_map(next(filter(None, columns)))} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
