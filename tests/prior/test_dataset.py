import torch

from backend.prior import dataset
from backend.prior.captions import OBJECT_WORDS
from backend.prior.dataset import World
from backend.prior.shapes import SHAPES


def pool(seed: int = 0, count: int = 66, chunk: int = 3) -> dataset.Pool:
    return dataset.trace_pool(count, 16, World(), torch.Generator().manual_seed(seed), chunk=chunk)


def test_a_pool_goes_through_all_objects_evenly() -> None:
    assert pool().shape.bincount().tolist() == [3] * len(SHAPES)


def test_pool_and_batches_depend_on_the_seed_alone() -> None:
    first, again = pool(), pool()
    assert torch.equal(first.layers, again.layers)
    batches = [dataset.draw(p, 8, World(), torch.Generator().manual_seed(5)) for p in (first, again)]
    assert torch.equal(batches[0].images, batches[1].images)
    assert batches[0].captions == batches[1].captions
    assert not torch.equal(first.layers, pool(seed=1).layers)


def test_the_last_chunk_may_be_smaller() -> None:
    assert len(pool(count=10).shape) == 10


def test_batches_are_images_in_range_with_a_caption_each(generator: torch.Generator) -> None:
    batch = dataset.draw(pool(), 200, World(), generator)
    assert batch.images.shape == (200, 3, 16, 16)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    for shape, text in zip(batch.shape, batch.captions, strict=True):
        assert any(word in text for word in OBJECT_WORDS[SHAPES[shape].name])


def test_only_objects_with_patterns_get_one() -> None:
    p = pool(count=660, chunk=30)
    patterned = {SHAPES[s].name for s in p.shape[p.pattern > 0].tolist()}
    assert patterned <= {shape.name for shape in SHAPES if shape.patterns}
    assert patterned


def test_natural_colours_are_used_where_the_caption_names_none(generator: torch.Generator) -> None:
    duck = next(i for i, shape in enumerate(SHAPES) if shape.name == "duck")
    p = dataset.trace_pool(4, 16, World(), generator, shapes=(SHAPES[duck],))
    batch = dataset.draw(p, 600, World(), generator)
    colourless = [
        colour
        for colour, text in zip(batch.colour.tolist(), batch.captions, strict=True)
        if not any(word in text for word in dataset.COLOURS)
        and not any(w in text for w in ("cyan", "teal", "violet", "grey"))
    ]
    assert len(colourless) > 20
    assert {list(dataset.COLOURS)[colour] for colour in colourless} == {"yellow"}
