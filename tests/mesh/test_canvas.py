"""A square to be painted: what is seen of it, and which of its texels change."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.occupancy import Occupancy
from backend.engine.painting import Places
from backend.engine.rendering import render
from backend.mesh import raycast, shell
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.canvas import MeshCanvas
from backend.mesh.shell import Shell

CPU = torch.device("cpu")
SIZE = 16
FRONT = torch.tensor([0.0, -1.0, 0.0])


@pytest.fixture
def square() -> Asset:
    """Half a metre each way from the middle, seen from -y, with all texels of its own: the first triangle below."""
    corners = np.array([(-0.5, 0, -0.5), (0.5, 0, -0.5), (0.5, 0, 0.5), (-0.5, 0, 0.5)], np.float32)
    triangles = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    uvs = (corners[:, [0, 2]] + 0.5)[triangles]
    texture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return Asset(TriangleMesh(corners, triangles), uvs, texture, np.tile(FRONT.numpy(), (2, 3, 1)))


def by_place(places: Places) -> Tensor:
    """Red grows to the right, green upwards."""
    across, up = places.points[:, 0] + 0.5, places.points[:, 2] + 0.5
    return torch.stack([across, up, torch.zeros_like(up)], dim=-1)


BOTH = np.array([True, True])


def test_a_ray_sees_the_place_that_it_meets_first(square: Asset) -> None:
    origins = torch.tensor([(0.25, -2.0, -0.125), (0.7, -2.0, 0.0), (-0.2, -3.0, 0.3)])
    sight = MeshCanvas(square, np.array([True, False]), CPU).sight(origins, torch.tensor([(0.0, 1.0, 0.0)] * 3))
    assert sight.ray.tolist() == [0, 2]
    torch.testing.assert_close(sight.distance, torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(sight.places.points, torch.tensor([(0.25, 0.0, -0.125), (-0.2, 0.0, 0.3)]))
    torch.testing.assert_close(sight.places.normals, FRONT.expand(2, 3))
    assert sight.places.free.tolist() == [True, False]


def test_a_place_has_the_colour_of_its_texel_before(square: Asset) -> None:
    centre = (torch.tensor([3, 12]) + 0.5) / SIZE - 0.5  # column 3, row 16 - 1 - 12
    origins = torch.stack([centre[0], torch.tensor(-2.0), centre[1]])[None]
    sight = MeshCanvas(square, BOTH, CPU).sight(origins, torch.tensor([(0.0, 1.0, 0.0)]))
    torch.testing.assert_close(sight.places.before[0], torch.tensor(square.texture[3, 3]) / 255, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [8, 32])
def test_a_texture_of_any_size_shows_the_colours_where_they_are(square: Asset, size: int) -> None:
    texture = MeshCanvas(square, BOTH, CPU).painted(by_place, size)
    centres = (np.arange(size) + 0.5) / size
    expected = np.stack(np.broadcast_arrays(centres[None], 1 - centres[:, None], 0), axis=-1)
    assert np.abs(texture / 255 - expected).max() < 1 / 255


def test_texels_of_triangles_that_are_not_free_keep_their_bytes(square: Asset) -> None:
    texture = MeshCanvas(square, np.array([True, False]), CPU).painted(by_place, 64)
    assert texture.shape == square.texture.shape  # whatever was asked for
    row, column = np.indices((SIZE, SIZE))
    above = SIZE - 1 - row > column
    assert np.array_equal(texture[above], square.texture[above])
    painted = MeshCanvas(square, BOTH, CPU).painted(by_place, SIZE)
    below = SIZE - 1 - row < column
    assert np.array_equal(texture[below], painted[below])


def test_where_triangles_lie_on_each_other_those_win_that_keep_their_colours(square: Asset) -> None:
    on_each_other = replace(square, uvs=square.uvs[[0, 0]])
    for free in ([True, False], [False, True]):
        texture = MeshCanvas(on_each_other, np.array(free), CPU).painted(by_place, SIZE)
        assert np.array_equal(texture, square.texture)


def test_texels_between_islands_follow_the_nearest(square: Asset) -> None:
    apart = replace(square, uvs=np.stack([square.uvs[0] * 0.4 + (0.6, 0.0), square.uvs[1] * 0.4]).astype(np.float32))
    texture = MeshCanvas(apart, np.array([True, False]), CPU).painted(
        lambda places: torch.ones(len(places.points), 3), SIZE
    )
    assert (texture[-1, -1] == 255).all()  # below and to the right there is nothing else than the first one
    assert np.array_equal(texture[0, 0], square.texture[0, 0])


def test_a_shell_looks_like_the_mesh(square: Asset) -> None:
    canvas = MeshCanvas(square, BOTH, CPU)
    field = Shell(canvas.samples(128), lambda before, points: torch.full_like(before, 0.25))
    seen = render(field, ring(1, 0), 48, Occupancy.of(field, 32, 0.2, CPU), 0.02)
    solid, wanted = seen.opacity[0] > 0.5, raycast.render(square, ring(1, 0), 48).opacity[0] > 0.5
    assert (solid & wanted).sum() / (solid | wanted).sum() > 0.8
    torch.testing.assert_close(seen.colour[0][:, solid], 0.25 * seen.opacity[0][solid].expand(3, -1))


def coloured(over: Callable[[Tensor, Tensor], Tensor], square: Asset) -> Tensor:
    field = Shell(MeshCanvas(square, BOTH, CPU).samples(SIZE), over)
    return field.colour(torch.tensor([(0.0, 0.0, 0.0)]))


def test_a_shell_knows_what_was_there_before(square: Asset) -> None:
    plain = replace(square, texture=np.full((SIZE, SIZE, 3), 51, np.uint8))
    torch.testing.assert_close(coloured(lambda before, points: before, plain), torch.full((1, 3), 0.2))


def test_a_shell_is_as_if_all_of_space_were_searched_but_is_not(square: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    class Counting(KDTree):
        def query(self, points: np.ndarray, **limits: float) -> tuple[np.ndarray, np.ndarray]:
            distance, nearest = super().query(points, **limits)
            searched.append(int(np.isfinite(distance).sum()))
            return distance, nearest

    monkeypatch.setattr(shell, "KDTree", Counting)
    places = MeshCanvas(square, BOTH, CPU).samples(64)
    near = Shell(places, lambda before, points: before)
    monkeypatch.setattr(shell, "_REACH", np.inf)
    whole = Shell(places, lambda before, points: before)
    points = places.points + 0.05 * torch.randn(places.points.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(near.density(points), whole.density(points))
    there = whole.density(points) > 0
    torch.testing.assert_close(near.colour(points[there]), whole.colour(points[there]))
    assert searched[0] < searched[1] / 10
