import pytest
import torch

from backend.prior.photographer import Photographer, bent
from backend.prior.pool import Pool


def test_pictures_are_what_is_to_be_seen_of_each_kind(pool: Pool, generator: torch.Generator) -> None:
    photographer = Photographer(pool, generator)
    index = torch.arange(64)
    painted, bare = photographer.textured(index), photographer.untextured(index)
    for images in (painted, bare):
        assert images.shape == (64, 3, 16, 16)
        assert images.min() >= 0
        assert images.max() <= 1
    assert photographer.textured(index, small=True).shape == (64, 3, 8, 8)
    middle = painted[:, :, 7:9, 7:9].mean((2, 3))
    assert 8 < (middle[:, 0] > middle[:, 1] + 0.2).sum() < 64  # red, where it was not painted over
    spread = bare[:, :, 7:9, 7:9].mean((2, 3))
    assert (spread.max(1).values - spread.min(1).values).max() < 0.15  # grey, but for the noise


def test_a_bent_picture_is_the_picture_still(generator: torch.Generator) -> None:
    images = torch.zeros(32, 3, 32, 32)
    images[:, :, 8:24, 6:12] = 1
    mirrored = torch.arange(32) < 16
    seen = bent(images, mirrored, generator)
    left, right = seen[..., :16].sum((1, 2, 3)), seen[..., 16:].sum((1, 2, 3))
    assert ((right > left) == mirrored).all()
    assert seen.sum().item() == pytest.approx(images.sum().item(), rel=0.15)
    assert not torch.equal(seen[0], seen[1])
