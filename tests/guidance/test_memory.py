"""The estimate against what autograd keeps, and what is planned of it on the cards that artists have."""

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from backend.guidance import memory
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.memory import GIB, Needs, needs

ENCODER, NETWORK = 1.55 * GIB, 4 * 1.2 / 16 * GIB
STABLE_DIFFUSION = needs("hashgrid", 64, 2 / 128, ENCODER, NETWORK)
"""Of a view under Stable Diffusion 1.5 in half precision, with Perp-Neg."""


def test_what_the_encoder_keeps_is_what_autograd_keeps() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
        vae.half().requires_grad_(False)
        image = torch.zeros(1, 3, 512, 512, dtype=torch.float16, requires_grad=True)
    weights = {parameter.untyped_storage()._cdata for parameter in vae.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        vae.encode(image).latent_dist.mode()
    found = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in weights)
    assert pytest.approx(found, rel=0.02) == memory.ENCODER_BYTES * 512**2 * 128 * 2


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
    assert asked.of(1, joint=1) == 100 + 15
    # Views that see each other are rendered together, and encoded and shown to the model one after the other.
    assert asked.of(1, joint=4) == 100 + 4 * 10 + 5


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
    assert encoder == pytest.approx(ENCODER * (64 / 512) ** 2 * (8 / 128) * 2)
    assert guidances["sd1"].view_bytes(2)[1] == pytest.approx(network / 2)
    assert guidances["if"].view_bytes(4)[0] == 0


def test_what_a_large_view_takes_does_not_grow_as_a_small_one_does() -> None:
    small, large, larger = (needs("hashgrid", pixels, 2 / 128, 0, 0).field for pixels in (64, 512, 1024))
    assert small == 1000 * 64**2 * 128
    assert 1000 * 2**20 < large < 6 * GIB
    assert larger - large == pytest.approx(100 * 128 * (1024**2 - 512**2))
