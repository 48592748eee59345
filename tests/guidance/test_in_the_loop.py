"""Every kind of model, and every rule, guides a field for a few steps by the presets of large models, lit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.engine.fields import Growth, VoxelField
from backend.engine.latents import displayed
from backend.engine.names import RULES, RuleName
from backend.engine.optimise import optimise
from backend.engine.rules import bridge
from backend.engine.settings import Shading
from backend.guidance.loading import load
from backend.guidance.lora import LoraRival
from backend.guidance.prompts import PerpNeg, encode
from backend.pipeline.presets import preset
from backend.pipeline.tuning import tuned

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "latent_field"),
    [("sd1", False), ("sd2", False), ("if", False), ("told", False), ("sd1", True), ("sd2", True)],
)
def test_a_few_steps_move_the_field(folders: dict[str, Path], kind: str, latent_field: bool) -> None:
    assert_moved(folders[kind], kind, latent_field, "sds")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_moves_the_field(folders: dict[str, Path], rule: RuleName) -> None:
    assert_moved(folders["sd2"], "sd2", False, rule)


@pytest.mark.parametrize(
    ("kind", "latent_field"), [("sd1", False), ("if", False), ("told", False), ("sd1", True), ("sd2", True)]
)
def test_a_rival_learns_beside_a_field_of_any_kind(folders: dict[str, Path], kind: str, latent_field: bool) -> None:
    assert_moved(folders[kind], kind, latent_field, "vsd")


def assert_moved(folder: Path, kind: str, latent_field: bool, rule: RuleName) -> None:
    guidance = load(folder, CPU, "fp32", latent_field)
    shading = Shading() if latent_field else Shading(0.5, 0.3, begin=0.0)
    chosen = tuned(preset("draft", small=False, device="cpu"), small=False, takes_views=kind == "told")
    settings = replace(
        chosen.optimisation, steps=3, views=2, spacing=0.2, occupancy_resolution=8, shading=shading, rule=rule
    )
    field = VoxelField(guidance.channels, Growth((6,), (0.0,)))
    avoid = PerpNeg() if chosen.perp_neg else None
    texts = encode(guidance, "a mug", mode=chosen.view_mode, perp_neg=avoid, contrast=(bridge.BETTER, bridge.WORSE))
    rival = LoraRival(guidance, torch.Generator().manual_seed(0), 1e-4) if rule == "vsd" else None
    *_, last = optimise(field, guidance, texts, settings, seed=0, rival=rival)
    assert last.step == 3
    assert field.levels[0].isfinite().all()
    moved = field.levels[0].abs().sum((0, 2, 3, 4))
    assert (moved > 0).all()  # density and every channel
    shown = displayed(field, guidance)
    colour = shown.colour(torch.tensor([[0.1, 0.0, 0.2]]))
    assert colour.shape == (1, 3)
    assert ((colour >= 0) & (colour <= 1)).all()
