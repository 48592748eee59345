"""What models add to how often a step waits for a GPU; see the same of the engine."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.engine.fields import VoxelField
from backend.engine.optimise import optimise
from backend.engine.settings import Shading
from backend.guidance.loading import load
from backend.guidance.prompts import PerpNeg, encode
from backend.pipeline.presets import preset
from backend.pipeline.tuning import tuned
from tests.synchronisations import Waits

STEP = {"read": 1, "sized": 4}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sd1", {**STEP, "read": 2}),  # which of Perp-Neg's prompts any camera needs
        ("sdxl", {**STEP, "read": 2}),
        ("told", STEP),
    ],
)
def test_a_model_has_a_step_wait_for_perp_neg_alone(
    folders: dict[str, Path], kind: str, expected: dict[str, int]
) -> None:
    guidance = load(folders[kind], torch.device("cpu"), "fp32")
    told = kind == "told"
    chosen = tuned(preset("standard", small=False, device="cpu"), small=False, takes_views=told)
    settings = replace(
        chosen.optimisation, steps=3, spacing=0.2, occupancy_resolution=8, shading=Shading(0.5, 0.3, begin=0.0)
    )
    avoid = PerpNeg() if chosen.perp_neg else None
    texts = encode(guidance, "a mug", mode=chosen.view_mode, perp_neg=avoid)
    run = optimise(VoxelField(guidance.channels, (6,)), guidance, texts, settings, seed=0)
    found = []
    for _ in range(3):
        with Waits() as waited:
            next(run)
        found.append(dict(waited.kinds))
    assert found[1:] == [expected] * 2
