import pickle

import pytest
import torch

from backend.engine.cameras import CameraDistribution
from backend.prior.catalogue import Entry
from backend.prior.drawing import Paints, Source, World
from backend.prior.pool import RIG, Pool

META = torch.device("meta")
"""A device that is not the CPU, and that is everywhere: it computes shapes, and refuses to mix with others."""


@pytest.fixture
def objects() -> Pool:
    """A red and a blue square, two rigs each."""
    pictures = 4 * RIG
    layers = torch.zeros(pictures, 7, 8, 8, dtype=torch.uint8)
    layers[: 2 * RIG, 0, 2:6, 2:6], layers[2 * RIG :, 2, 2:6, 2:6] = 200, 200
    layers[:, 3, 2:6, 2:6], layers[:, 4:, 2:6, 2:6] = 255, 128
    cameras = CameraDistribution().rigs(4, RIG, torch.Generator().manual_seed(0))
    entry = torch.arange(2).repeat_interleave(2 * RIG)
    return Pool((Entry("a.glb", "cube"), Entry("b.glb", "tile")), layers, cameras, entry)


@pytest.mark.parametrize("rig", [1, RIG])
@pytest.mark.parametrize("small", [False, True])
def test_pictures_are_painted_and_lit_where_the_pool_lies(objects: Pool, rig: int, small: bool) -> None:
    source = Source(objects.to(META), World(), torch.Generator().manual_seed(1), Paints(objects))
    plan = source.plan(8 * RIG, rig)
    assert len(plan.painted)
    batch = source.pictured(plan, small)
    assert batch.images.device == META
    assert batch.images.shape == (8 * RIG, 3, 8 // (1 + small), 8 // (1 + small))
    assert batch.views.features.device.type == "cpu"


def test_a_pool_keeps_its_bytes_on_the_device(objects: Pool) -> None:
    moved = objects.to(META)
    assert moved.layers.dtype == torch.uint8
    assert moved.layers.device == META
    assert moved.entry.device.type == "cpu"


def test_a_plan_made_by_another_process_gives_the_same_pictures(objects: Pool) -> None:
    paints = Paints(objects)
    drawing = Source(objects, World(), torch.Generator().manual_seed(2), paints)
    planning = Source(objects, World(), torch.Generator().manual_seed(2), paints)
    plan = pickle.loads(pickle.dumps(planning.plan(16, RIG)))  # noqa: S301  made a line above
    batch = drawing.draw(16, RIG, small=False)
    assert torch.equal(drawing.pictured(plan, small=False).images, batch.images)
    assert [text for text in plan.captions for _ in range(RIG)] == batch.captions
