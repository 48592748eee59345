"""Pictures of three easy things, and what they are called."""

import pytest
import torch

from backend.engine.cameras import CameraDistribution
from backend.prior.catalogue import Entry
from backend.prior.layers import Layers
from backend.prior.lexicon import Lexicon
from backend.prior.pool import RIG, Pool

SIZE = 16
RIGS = 4


@pytest.fixture
def pool() -> Pool:
    """Four bars that lie, one that stands and a plate that is seen from above; the front of each is on the left."""
    shapes = {"bar": (slice(6, 10), slice(1, 15)), "post": (slice(1, 15), slice(6, 10)), "plate": (slice(4, 12),) * 2}
    entries = [Entry(f"{noun}-{number}", noun, (), (), True) for noun, number in (("bar", 0), ("bar", 1), ("bar", 2))]
    entries += [
        Entry("bar-3", "bar", ("rod",), (), True),
        Entry("post", "post", ("rod",), (), True),
        Entry("plate", "plate"),
    ]
    views = RIGS * RIG
    cameras = CameraDistribution().rigs(len(entries) * RIGS, RIG, torch.Generator().manual_seed(0))
    entry = torch.arange(len(entries)).repeat_interleave(views)
    coverage, albedo = torch.zeros(len(entry), SIZE, SIZE), torch.zeros(len(entry), 3, SIZE, SIZE)
    for picture, number in enumerate(entry.tolist()):
        rows, columns = shapes[entries[number].noun]
        coverage[picture, rows, columns] = 1
        albedo[picture, :, rows, columns] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    normals = torch.zeros_like(albedo)
    normals[:, 2] = coverage
    return Pool(tuple(entries), Layers(albedo, coverage, normals).packed(), cameras, entry)


@pytest.fixture
def lexicon(pool: Pool) -> Lexicon:
    return Lexicon.of(pool.entries)
