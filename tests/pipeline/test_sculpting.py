"""A field that starts as an artist's mesh."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from backend.engine.fields import TrainableField
from backend.engine.fitting import Target, fit, shape_error
from backend.engine.hashgrid import HashGridConfig, HashGridField
from backend.engine.names import FieldName
from backend.engine.regularisers import Ramp
from backend.engine.scene import Volume
from backend.engine.settings import Settings
from backend.mesh import fidelity
from backend.mesh.glb import read_glb
from backend.pipeline.generate import generate
from backend.pipeline.given import as_asset, read
from backend.pipeline.job import Job, planned
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.pipeline.sculpting import SHARP, target_of
from backend.pipeline.shape import as_new
from backend.pipeline.stages import Status
from tests.pipeline.small_jobs import PROMPT, SMALL
from tests.pipeline.things import save

pytestmark = pytest.mark.usefixtures("small_pictures")

CPU = torch.device("cpu")
STEPS = 4


@pytest.fixture(scope="module")
def blockout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thick letter T, 5 metres beside the origin."""
    move = trimesh.transformations.translation_matrix
    pieces = [trimesh.creation.box((1, 3, 1), move((5, 0, 0))), trimesh.creation.box((3, 1, 1), move((5, 1.5, 0)))]
    joined = trimesh.util.concatenate(pieces)
    return save(
        tmp_path_factory.mktemp("mesh") / "t.glb",
        vertices=np.asarray(joined.vertices),
        triangles=np.asarray(joined.faces),
        uvs=np.zeros((len(joined.vertices), 2)),
        textured=False,
    )


def sculpting(start: Path, **changes: Any) -> Job:
    job, _ = planned(Request(PROMPT, preset="draft", device="cpu", start=start, **{"steps": STEPS, **changes}))
    return replace(job, mesh=SMALL)


def small_hash_grid() -> TrainableField:
    config = HashGridConfig(levels=6, log2_table=14, base=8, finest=64, hidden=32)
    return HashGridField(torch.Generator().manual_seed(0), 3, config)


def new(kind: FieldName) -> Callable[[], TrainableField]:
    return lambda: as_new(kind, 3, 0, CPU, Ramp(9.0, 9.0), SHARP)


@pytest.mark.parametrize(
    ("field", "rate", "least"), [(new("voxel"), 0.2, 0.9), (new("sdf"), 0.2, 0.78), (small_hash_grid, 0.02, 0.85)]
)
def test_the_first_render_agrees_with_the_mesh(
    blockout: Path, field: Callable[[], TrainableField], rate: float, least: float
) -> None:
    given, fitted = read(blockout), field()
    fit(fitted, target_of(given, 0, CPU), rate, seed=0)
    asset, _ = as_asset(given, 64)
    found = fidelity.to_field(given.placement.inwards(asset), fitted, CPU)
    assert found.silhouette_iou > least


def test_the_field_has_the_colours_of_the_mesh(tmp_path: Path) -> None:
    given = read(save(tmp_path / "box.glb"))
    target = target_of(given, 0, CPU)
    assert target.colour is not None
    on_it = target.distance.abs() < 0.02
    field = as_new("voxel", 3, 0, CPU)
    fit(field, target, 0.2, seed=0)
    before = (target.colour[on_it] - 0.5).square().mean()  # a texture of noise: no grid has it all
    assert (field.colour(target.points[on_it]) - target.colour[on_it]).square().mean() < 0.95 * before


def test_a_field_is_held_near_its_solid_the_more_the_less_strength_there_is() -> None:
    axis = torch.linspace(-1, 1, 20)
    points = torch.cartesian_prod(axis, axis, axis)
    ball = Target(points, points.norm(dim=-1) - 0.5)

    def hold(strength: float) -> float:
        scene = Volume(as_new("voxel", 3, 0, CPU), Settings(strength=strength), CPU, 8, ball)
        return scene.terms(0.0, torch.Generator().manual_seed(0))["solid"].item()

    assert hold(1.0) == 0
    assert 0 < hold(0.8) < hold(0.5) < hold(0.2)
    assert hold(0.2) == pytest.approx(4 * hold(0.5))


@pytest.mark.parametrize("kind", ["voxel", "sdf"])
def test_what_is_carved_away_weighs_less_than_what_is_added(kind: FieldName) -> None:
    field, axis = new(kind)(), torch.linspace(-1, 1, 20)
    points = torch.cartesian_prod(axis, axis, axis)
    distance = points.norm(dim=-1) - 0.7
    for within, ratio in ((True, 0.1), (False, 1.0)):
        part = (distance < 0) == within
        some = Target(points[part], distance[part])
        assert shape_error(field, some, inside=0.1).item() == pytest.approx(ratio * shape_error(field, some).item())


def test_a_job_begins_at_the_mesh_with_less_noise_and_ends_in_its_place(blockout: Path, tmp_path: Path) -> None:
    heard: list[Status] = []
    job = sculpting(blockout, strength=0.3)
    generate(job, tmp_path, False, heard.append)
    given = read(blockout)
    first = next(status for status in heard if status.progress)
    assert first.progress is not None
    asset, recipe = read_glb(tmp_path / MESH)
    centre = asset.mesh.vertices.mean(0)
    np.testing.assert_allclose(centre, given.placement.centre, atol=0.6)
    assert recipe["strength"] == 0.3
    inside = given.placement.inwards(as_asset(given, 64)[0])
    reached = given.placement.inwards(asset)
    seen = [fidelity.raycast.render(each, fidelity.ring(4, 20), 64) for each in (inside, reached)]
    assert fidelity.compare(seen[0], seen[1]).silhouette_iou > 0.75


@pytest.mark.usefixtures("every_step")
def test_sculpting_that_was_stopped_ends_in_the_same_bytes(blockout: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        if status.progress and status.progress.step > 2:
            raise KeyboardInterrupt

    generate(sculpting(blockout), tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        generate(sculpting(blockout), tmp_path / "cut", False, interrupt)
    generate(sculpting(blockout), tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / MESH).read_bytes() == (tmp_path / "whole" / MESH).read_bytes()
