"""The renderer of finished meshes against Cycles, in the real Blender module."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backend.engine.cameras import Cameras, framing
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.creases import shaded
from backend.mesh.glb import read_glb, write_glb
from backend.mesh.raycast import render

ROOT = Path(__file__).parents[2]
BPY = ROOT / ".venv-bpy" / "bin" / "python"
SIZE = 128

CENTRES = np.array([[0.0, 0.0, 0.0], [0.45, 0.1, 0.3], [-0.1, -0.5, -0.2]])
HALVES = np.array([[0.3, 0.35, 0.5], [0.25, 0.15, 0.12], [0.1, 0.3, 0.15]])


def boxes() -> Asset:
    """A body with an arm to the right (+x) and a nose to the front (-y); every side in two colours of its own."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    # Counter-clockwise from outside: -x, +x, -y, +y, -z, +z.
    sides = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    quads = np.concatenate([sides + 8 * box for box in range(3)])
    vertices = np.concatenate([corners * half + centre for centre, half in zip(CENTRES, HALVES, strict=True)])

    columns, cell = 5, 24
    texture = np.zeros((columns * cell, columns * cell, 3), np.uint8)
    colours = torch.randint(40, 256, (len(quads), 2, 3), generator=torch.Generator().manual_seed(3)).numpy()
    uvs = np.empty((len(quads), 4, 2))
    for index in range(len(quads)):
        row, column = np.array(divmod(index, columns)) * cell
        texture[row : row + cell, column : column + cell] = colours[index, 0]
        texture[row + 2 * cell // 3 : row + cell, column : column + cell // 2] = colours[index, 1]  # lower left
        left, right, top, bottom = column + 2, column + cell - 2, row + 2, row + cell - 2
        uvs[index] = [[left, bottom], [right, bottom], [right, top], [left, top]]
    uvs = uvs / len(texture) * [1, -1] + [0, 1]
    split = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = TriangleMesh(vertices.astype(np.float32), quads[:, split].reshape(-1, 3).astype(np.int32))
    return Asset(mesh, uvs[:, split].reshape(-1, 3, 2).astype(np.float32), texture, shaded(mesh, "auto"))


def in_cycles(glb: Path, folder: Path, cameras: Cameras) -> tuple[torch.Tensor, torch.Tensor]:
    """Premultiplied colours (B, 3, H, W) and opacity (B, H, W)."""
    right, up = cameras.right_and_up
    matrices = torch.eye(4).repeat(len(up), 1, 1)
    matrices[:, :3] = torch.stack([right, up, cameras.backward, cameras.position], dim=-1)
    given = [
        {"matrix": matrix, "fov": fov, "size": SIZE}
        for matrix, fov in zip(matrices.tolist(), cameras.fov.tolist(), strict=True)
    ]
    script = Path(__file__).with_name("cycles_render.py")
    done = subprocess.run(
        [BPY, script, glb, folder, json.dumps(given)], capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr
    pictures = [np.asarray(Image.open(folder / f"{index}.png"), np.float32) / 255 for index in range(len(given))]
    rgba = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return rgba[:, :3] * rgba[:, 3:], rgba[:, 3]


@pytest.mark.skipif(not BPY.exists(), reason="needs Blender's module: no .venv-bpy here; `make demo` sets it up")
def test_a_glb_looks_in_cycles_as_it_does_here(tmp_path: Path) -> None:
    glb = tmp_path / "mesh.glb"
    write_glb(boxes(), glb, "Boxes", {})
    cameras = framing(
        azimuth=torch.tensor([0.4, 2.2, -1.9]),
        elevation=torch.tensor([0.3, -0.4, 1.0]),
        fov=torch.tensor([0.7, 0.5, 0.8]),
        margin=torch.tensor([1.1, 1.1, 1.0]),
    )
    colour, opacity = in_cycles(glb, tmp_path, cameras)
    ours = render(read_glb(glb)[0], cameras, SIZE, supersampling=4)
    for view in range(len(opacity)):
        theirs_shown, ours_shown = opacity[view] >= 0.5, ours.opacity[view] >= 0.5
        union = theirs_shown | ours_shown
        assert (theirs_shown & ours_shown).sum() / union.sum() >= 0.98
        error = (colour[view] - ours.colour[view]).square().mean(0)[union].mean()
        assert -10 * torch.log10(error) >= 28
