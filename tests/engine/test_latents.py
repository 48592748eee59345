"""A latent field in colours, against a decoder whose linear map is known."""

from dataclasses import dataclass

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.fields import Blob, VoxelField
from backend.engine.latents import displayed

MATRIX = torch.tensor([[0.2, 0.0, 0.1], [0.0, 0.1, -0.1], [0.05, 0.05, 0.0], [0.0, -0.1, 0.1]])
OFFSET = torch.tensor([0.4, 0.5, 0.6])


@dataclass(frozen=True)
class LinearDecoder:
    """Guidance as far as `displayed` uses it: the decoder is linear and enlarges four times."""

    channels: int = 4
    size: int = 16
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # a constant

    def decode(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        colours = torch.einsum("bchw,ck->bkhw", images, MATRIX) + OFFSET[:, None, None]
        return torch.nn.functional.interpolate(colours, scale_factor=4.0, mode="nearest")


def test_a_linear_decoder_is_found_again(generator: torch.Generator) -> None:
    field = VoxelField(channels=4, blob=Blob(8.0, 14.0))
    with torch.no_grad():
        for level in field.levels:
            level[:, 1:] = torch.randn(level[:, 1:].shape, generator=generator)
    shown = displayed(field, LinearDecoder())
    x = 0.5 * (2 * torch.rand(200, 3, generator=generator) - 1)
    expected = (field.colour(x) @ MATRIX + OFFSET).clamp(0, 1)
    torch.testing.assert_close(shown.colour(x), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(shown.density(x), field.density(x))
    both = shown.density_and_colour(x)
    torch.testing.assert_close(both[1], shown.colour(x))


def test_views_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = LinearDecoder.decode
    monkeypatch.setattr(
        LinearDecoder, "decode", lambda decoder, images: decoded.append(len(images)) or decode(decoder, images)
    )
    displayed(VoxelField(channels=4), LinearDecoder())
    assert decoded == [1] * 8


def test_a_field_of_colours_is_shown_as_it_is() -> None:
    field = VoxelField()
    assert displayed(field, LinearDecoder(channels=3)) is field
