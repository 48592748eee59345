"""The mesh stage as a whole, on a ball."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.mesh.asset import BRIGHTEST, DARKEST, MeshSettings
from backend.mesh.build import build


class Ball:
    """A ball of one colour."""

    def __init__(self, value: float) -> None:
        self._value = value

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return 100 * torch.sigmoid((0.6 - x.norm(dim=-1)) / 0.02)

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return torch.full_like(x, self._value)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        return self.density(x), self.colour(x)


@pytest.mark.parametrize(("value", "expected"), [(0.0, DARKEST), (0.5, 128), (1.0, BRIGHTEST)])
def test_base_colours_are_those_of_real_things(value: float, expected: int) -> None:
    settings = MeshSettings(resolution=48, faces=500, texture=64)
    asset, notes = build(Ball(value), settings, torch.device("cpu"), lambda stage: nullcontext())
    assert np.abs(asset.texture.astype(int) - expected).max() <= 1
    assert notes == []
