"""Every kind of model guides a field for a few steps by the presets of large models, lit, with Perp-Neg."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.engine.fields import Growth, VoxelField
from backend.engine.optimise import optimise
from backend.engine.settings import Shading
from backend.guidance.loading import load
from backend.guidance.prompts import PerpNeg, encode
from backend.latents import displayed
from backend.presets import preset
from backend.tuning import tuned

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "latent_field"), [("sd1", False), ("sd2", False), ("if", False), ("sd1", True), ("sd2", True)]
)
def test_a_few_steps_move_the_field(folders: dict[str, Path], kind: str, latent_field: bool) -> None:
    guidance = load(folders[kind], CPU, "fp32", latent_field)
    shading = Shading() if latent_field else Shading(0.5, 0.3, begin=0.0)
    chosen = tuned(preset("draft", small=False, device="cpu"), small=False).optimisation
    settings = replace(chosen, steps=3, views=2, spacing=0.2, occupancy_resolution=8, shading=shading)
    field = VoxelField(guidance.channels, Growth((6,), (0.0,)))
    texts = encode(guidance, "a mug", perp_neg=PerpNeg())
    *_, last = optimise(field, guidance, texts, settings, seed=0)
    assert last.step == 3
    assert field.levels[0].isfinite().all()
    moved = field.levels[0].abs().sum((0, 2, 3, 4))
    assert (moved > 0).all()  # density and every channel
    shown = displayed(field, guidance)
    colour = shown.colour(torch.tensor([[0.1, 0.0, 0.2]]))
    assert colour.shape == (1, 3)
    assert ((colour >= 0) & (colour <= 1)).all()
