"""Every kind of model, and every rule, guides a field for a few steps by the presets of large models, lit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.engine.fields import VoxelField
from backend.engine.latents import displayed
from backend.engine.names import RULES, RuleName
from backend.engine.optimise import optimise
from backend.engine.rules import bridge
from backend.engine.settings import Settings, Shading
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.guidance.lora import LoraRival
from backend.guidance.prompts import PerpNeg, encode
from backend.pipeline.presets import preset
from backend.pipeline.tuning import tuned

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "latent_field"),
    [("sd1", False), ("sd2", False), ("if", False), ("sdxl", False), ("told", False), ("sd1", True), ("sd2", True)],
)
def test_a_few_steps_move_the_field(folders: dict[str, Path], kind: str, latent_field: bool) -> None:
    assert_moved(folders[kind], kind, latent_field, "sds")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_moves_the_field(folders: dict[str, Path], rule: RuleName) -> None:
    assert_moved(folders["sd2"], "sd2", False, rule)


@pytest.mark.parametrize(
    ("kind", "latent_field"),
    [("sd1", False), ("if", False), ("sdxl", False), ("told", False), ("sd1", True), ("sd2", True)],
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
    field = VoxelField(guidance.channels, (6,))
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


@pytest.mark.parametrize("rule", ["sds", "bridge"])
def test_view_by_view_a_step_has_the_same_gradient(folders: dict[str, Path], rule: RuleName) -> None:
    # In double precision, because the networks round otherwise in another batch.
    parts = load(folders["sd2"], CPU, "fp32")._parts
    assert parts.vae is not None
    guidance = DiffusionGuidance(replace(parts, unet=parts.unet.double(), vae=parts.vae.double()))
    chosen = tuned(preset("draft", small=False, device="cpu"), small=False).optimisation
    settings = replace(
        chosen,
        steps=1,
        views=4,
        spacing=0.2,
        occupancy_resolution=8,
        shading=Shading(0.5, 0.3, begin=0.0),
        rule=rule,
    )
    texts = encode(guidance, "a mug", perp_neg=PerpNeg(), contrast=(bridge.BETTER, bridge.WORSE))

    def gradient(asked: DiffusionGuidance, at_once: int | None) -> torch.Tensor:
        field = VoxelField(guidance.channels, (6,))
        (progress,) = optimise(field, asked, texts, settings, seed=0, views_at_once=at_once)
        return progress.state()["optimiser.0.exp_avg"]

    whole, parts = gradient(guidance, None), gradient(guidance.lean(1), 1)
    assert (parts - whole).norm() < 1e-5 * whole.norm()


def test_view_by_view_no_view_is_encoded_twice(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    guidance = load(folders["sd1"], CPU, "fp32")
    encoded: list[int] = []
    encode_images = guidance._parts.vae.encode
    monkeypatch.setattr(
        guidance._parts.vae, "encode", lambda pixels: encoded.append(len(pixels)) or encode_images(pixels)
    )
    settings = Settings(steps=1, views=4, spacing=0.2, occupancy_resolution=8)
    field = VoxelField(guidance.channels, (6,))
    list(optimise(field, guidance.lean(1), encode(guidance, "a mug"), settings, seed=0, views_at_once=1))
    assert encoded == [1, 1, 1, 1]
