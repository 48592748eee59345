"""Previews: cheap, small enough, and of what is there."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from backend.mesh.pictures import BACKGROUND
from backend.service.previews import PIXELS, coarse_mesh, picture
from shared.coarse import unpack
from shared.limits import COARSE_BYTES, PREVIEW_BYTES

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ball:
    """A ball with a wall that fades within a few centimetres: green above, red below."""

    radius: float = 0.5
    most: float = 40.0

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return self.most * torch.sigmoid((self.radius - x.norm(dim=-1)) * 120)

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        above = (x[:, 2] > 0).float()
        return torch.stack([1 - above, above, torch.zeros_like(above)], dim=-1)

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        return self.density(x), self.colour(x)


@dataclass(frozen=True)
class Gravel(Ball):
    """Grains of one grid cell and less, in all colours, wherever one looks."""

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return 400 * ((x * 91).sin().prod(dim=-1) > 0.2).float()

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return (x * 7919).sin() / 2 + 0.5


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_a_picture_shows_the_field_on_the_background_of_all_pictures() -> None:
    png = picture(Ball(), CPU)
    assert png.startswith(b"\x89PNG")
    shown = decoded(png)
    assert shown.shape == (PIXELS, PIXELS, 3)
    assert np.abs(shown[:3].reshape(-1, 3) - np.array(BACKGROUND) * 255).max() <= 1
    middle = PIXELS // 2
    red, green = shown[middle + 30, middle], shown[middle - 30, middle]
    assert red[0] > 2 * red[1]
    assert green[1] > 2 * green[0]


@pytest.mark.parametrize("field", [Ball(), Gravel(), Ball(most=0.0), Ball(most=float("nan"))])
def test_no_picture_or_mesh_is_too_large(field: Ball) -> None:
    assert 0 < len(picture(field, CPU)) <= PREVIEW_BYTES
    assert len(coarse_mesh(field, CPU)) <= COARSE_BYTES


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.9])
def test_a_coarse_mesh_has_the_field_s_size_and_colours(radius: float) -> None:
    mesh = unpack(coarse_mesh(Ball(radius), CPU))
    vertices = np.array(mesh.vertices).reshape(-1, 3)
    distance = np.linalg.norm(vertices, axis=-1)
    assert np.abs(distance - radius).max() < 0.08
    colours = np.array(mesh.colours).reshape(-1, 3)
    assert (colours[vertices[:, 2] > 0.01] == [0, 255, 0]).all()
    corners = vertices[np.array(mesh.triangles).reshape(-1, 3)]
    volume = np.linalg.det(corners).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.25)  # positive: wound outwards


@pytest.mark.parametrize("field", [Ball(most=0.0), Ball(most=0.3), Ball(most=float("nan"))])
def test_where_nothing_can_be_seen_there_is_no_coarse_mesh(field: Ball) -> None:
    assert coarse_mesh(field, CPU) == b""
