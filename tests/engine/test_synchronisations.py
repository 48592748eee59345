"""How often a step waits for a GPU: it reads once what came of it, and asks how many samples there are to keep."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from backend.engine.fields import VoxelField
from backend.engine.optimise import optimise
from backend.engine.regularisers import Ramp
from backend.engine.settings import Regularisation, Settings, Shading
from backend.engine.shots import Prompts
from backend.guidance.interface import Guidance
from tests.synchronisations import Waits

LIT = Settings(
    steps=9,
    views=4,
    spacing=0.1,
    occupancy_every=4,
    occupancy_resolution=8,
    shading=Shading(lambertian=0.5, textureless=0.3, begin=0.0),
    regularisation=Regularisation(
        opacity=Ramp(0.01, 0.01), entropy=Ramp(0.1, 0.1), orientation=Ramp(0.1, 0.1), bending=Ramp(0.1, 0.1)
    ),
)
PLAIN = replace(LIT, shading=Shading(), regularisation=Regularisation())

MARCHED, LOOKED_AT = 3, 1
"""Sizes that depend on numbers: rays that meet the sphere, their samples, those not hidden; those at the surface."""


def waits(guidance: Guidance, prompts: Prompts, settings: Settings, at_once: int | None) -> list[dict[str, int]]:
    """Of each step but the first, in which Adam and caches begin."""
    field = VoxelField(sizes=(6, 9))
    run = optimise(field, guidance, prompts, settings, seed=0, views_at_once=at_once)
    found = []
    for _ in range(settings.steps):
        with Waits() as waited:
            next(run)
        found.append(dict(waited.kinds))
    return found[1:]


@pytest.mark.parametrize("at_once", [None, 1])
@pytest.mark.parametrize(("settings", "sized"), [(LIT, MARCHED + LOOKED_AT), (PLAIN, MARCHED)])
def test_a_step_reads_once(
    gaussian: Callable[..., Guidance], no_prompts: Prompts, settings: Settings, sized: int, at_once: int | None
) -> None:
    groups = settings.views if at_once else 1
    # The guidance of this test sends its mean whenever it is asked.
    expected = {"read": 1, "sized": groups * sized, "sent": groups}
    assert waits(gaussian((0.9, 0.2, 0.2)), no_prompts, settings, at_once) == [expected] * 8


def test_what_waits_is_counted() -> None:
    numbers, mask = torch.arange(4.0), torch.tensor([True, False, True, False])
    with Waits() as waited:
        numbers.sum().item()
        bool(numbers.any())
        numbers.tolist()
        numbers.cpu()
        assert waited.kinds == {"read": 4}
        numbers.nonzero()
        numbers[mask]
        numbers[mask] = 0.0
        assert waited.kinds["sized"] == 3
        numbers.new_tensor([1.0])
        numbers[[0, 2]]
        assert waited.kinds["sent"] == 2
        numbers.double().sum().item()
        assert sum(waited.kinds.values()) == 9
