"""The estimate against what autograd keeps, and what is planned of it on the cards that artists have."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backend.guidance import memory
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.memory import GIB, Needs, needs
from backend.pipeline.presets import preset
from backend.pipeline.tuning import tuned
from tests.guidance import models_in_one_file as files

ENCODER, NETWORK = 1.55 * GIB, 4 * 1.2 / 16 * GIB
STABLE_DIFFUSION = needs("hashgrid", 64, 2 / 128, ENCODER, NETWORK)
"""Of a view under Stable Diffusion 1.5 in half precision, with Perp-Neg."""


def kept_by(module: torch.nn.Module, run: Callable[[Tensor], Tensor], given: Tensor) -> tuple[int, Tensor]:
    """Bytes that autograd keeps of `run`, besides the weights of `module`, and what comes out."""
    weights = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = run(given)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in weights), out


@pytest.mark.parametrize(("kind", "side"), [("sd1", 512), ("sd2", 768), ("sdxl", 1024)])
def test_what_the_encoder_keeps_is_what_autograd_keeps(kind: str, side: int) -> None:
    vae = files.true_sized(kind)["vae"].half().requires_grad_(False)
    image = torch.zeros(1, 3, side, side, dtype=torch.float16, device="meta", requires_grad=True)
    whole, _ = kept_by(vae, lambda images: vae.encode(images).latent_dist.mode(), image)
    assert pytest.approx(whole, rel=0.01) == memory.encoder_bytes(side**2, (side // 8) ** 2, 128, 2)
    # Block by block: what goes into the blocks so far, and all that the one keeps whose work is done again.
    features, inputs, most = vae.encoder.conv_in(image), 0, 0
    for block in (*vae.encoder.down_blocks, vae.encoder.mid_block):
        inputs += features.untyped_storage().nbytes()
        kept, out = kept_by(vae, block, features)
        most, features = max(most, inputs + kept), out.detach().requires_grad_()
    assert whole * memory._BY_BLOCKS * 0.88 < most < whole * memory._BY_BLOCKS


def test_the_encoder_keeps_less_of_one_view_at_a_time_for_the_same_gradient(
    guidances: dict[str, DiffusionGuidance], generator: torch.Generator
) -> None:
    guidance, image = guidances["sd1"], torch.rand(1, 3, 8, 8, generator=generator)
    found = []
    for asked in (guidance, guidance.lean(1)):
        given = image.clone().requires_grad_()
        kept, latents = kept_by(asked.parts.unet, asked.model_space, given)
        (gradient,) = torch.autograd.grad(latents.square().sum(), given)
        found.append((kept, gradient))
    (whole, expected), (lean, same) = found
    assert lean < 0.3 * whole  # the inputs of the blocks alone, as a block's own come back one at a time
    torch.testing.assert_close(same, expected)


CARDS = (6, 8, 12, 24)
PRESETS = {"draft": (2, 2), "standard": (4, 4)}
"""Views, and predictions for each; High is as Standard."""

PLANS = {
    ("sd1", 64, False): ("1 / 1", "2 / 1", "2 / 2", "2 / 4"),
    ("sd1", 64, True): ("2 / 2", "2 / 4", "2 / 4", "2 / 4"),
    ("sd2", 96, False): ("none", "1 / 1", "1 / 1", "2 / 2"),
    ("sd2", 96, True): ("2 / 1", "2 / 2", "2 / 4", "2 / 4"),
    ("sdxl", 128, False): ("none", "none", "1 / none", "1 / 1"),
    ("sdxl", 128, True): ("none", "1 / none", "2 / 2", "2 / 4"),
}
"""By kind, latents a side and whether they are rendered: views at a time on each of the cards, Draft / Standard."""

ROWS = {
    ("sd1", False): "Stable Diffusion 1.5, or 2.1 at 512 pixels",
    ("sd1", True): "the same with `--latent-field`",
    ("sd2", False): "Stable Diffusion 2.1 at 768 pixels",
    ("sd2", True): "the same with `--latent-field`",
    ("sdxl", False): "XL",
    ("sdxl", True): "XL with `--latent-field`",
}
README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("kind", "latents", "latent_field"), PLANS)
def test_views_at_a_time_on_the_cards_of_artists_are_those_in_the_readme(
    kind: str, latents: int, latent_field: bool
) -> None:
    parts = files.true_sized(kind)
    weights = sum(parameter.numel() for part in ("unet", "vae") for parameter in parts[part].parameters())
    encoder = 0.0 if latent_field else memory.encoder_bytes((8 * latents) ** 2, latents**2, 128, 2)
    planned = []
    for card in CARDS:
        free = (card - 1.0) * GIB - 2 * weights  # CUDA's own and a desktop's
        fitting = []
        for views, texts in PRESETS.values():
            step = needs("hashgrid", latents, 2 / 128, encoder, texts * memory.NETWORK_BYTES * latents**2 * 320 * 2)
            at_once = step.views_at_once(free, views, joint=1) or views
            fitting.append("none" if step.of(at_once, 1) > free else str(at_once))
        planned.append("none" if set(fitting) == {"none"} else " / ".join(fitting))
    assert tuple(planned) == PLANS[kind, latents, latent_field]
    assert f"| {ROWS[kind, latent_field]} | {' | '.join(planned)} |" in README


@pytest.mark.parametrize("name", PRESETS)
def test_those_are_the_views_and_predictions_of_the_presets(name: str) -> None:
    tuning = tuned(preset(name, small=False, device="cuda"), small=False)
    assert (tuning.optimisation.views, 4 if tuning.perp_neg else 2) == PRESETS[name]


@pytest.mark.parametrize(
    # A card's gigabytes, less the weights (2.0 GiB), CUDA's own (0.4) and what a desktop takes (0.6).
    ("card", "at_once"),
    [(24, None), (16, None), (12, 2), (8, 1), (6, 1)],
)
def test_views_of_stable_diffusion_that_fit_on_a_card(card: int, at_once: int | None) -> None:
    free = (card - 3.0) * GIB
    assert STABLE_DIFFUSION.views_at_once(free, views=4, joint=1) == at_once
    if at_once is not None and card > 6:
        assert STABLE_DIFFUSION.of(at_once, 1) < free


def test_the_most_that_is_needed_by_hand() -> None:
    asked = Needs(fixed=100, field=10, encoder=3, network=2)
    assert asked.of(4, joint=1) == 100 + 4 * 15
    assert asked.of(1, joint=1) == pytest.approx(100 + 12 + 0.57 * 3)
    # Views that see each other are rendered together, and encoded and shown to the model one after the other.
    assert asked.of(1, joint=4) == pytest.approx(100 + 4 * 10 + 2 + 0.57 * 3)


def test_groups_are_of_nearly_one_size_and_as_large_as_fit() -> None:
    asked = Needs(fixed=0, field=0, encoder=1, network=0)
    # 9/10 of what is free is planned with. Three of four at a time would leave one for a second round: two do as well.
    for free, at_once in ((4.5, None), (4.4, 2), (3.4, 2), (2.1, 1), (0.0, 1)):
        assert asked.views_at_once(free, views=4, joint=1) == at_once
    assert asked.views_at_once(3.4, views=5, joint=1) == 3


def test_what_a_view_takes_grows_with_the_model(guidances: dict[str, DiffusionGuidance]) -> None:
    # 8 x 8 latents of 64 x 64 pixels, 16 channels first in the UNet and 8 in the VAE, numbers of 4 bytes.
    encoder, network = guidances["sd1"].view_bytes(4)
    assert network == pytest.approx(NETWORK * (8 / 64) ** 2 * (16 / 320) * 2)
    assert encoder == memory.encoder_bytes(64**2, 8**2, 8, 4)
    assert encoder == pytest.approx((ENCODER - GIB / 16) * (64 / 512) ** 2 * (8 / 128) * 2 + 2 * 4 * 64**2)
    assert guidances["sd1"].view_bytes(2)[1] == pytest.approx(network / 2)
    assert guidances["if"].view_bytes(4)[0] == 0


def test_what_a_large_view_takes_does_not_grow_as_a_small_one_does() -> None:
    small, large, larger = (needs("hashgrid", pixels, 2 / 128, 0, 0).field for pixels in (64, 512, 1024))
    assert small == 1000 * 64**2 * 128
    assert 1000 * 2**20 < large < 6 * GIB
    assert larger - large == pytest.approx(100 * 128 * (1024**2 - 512**2))
