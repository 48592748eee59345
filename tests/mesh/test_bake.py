import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.engine.cameras import Cameras, framing
from backend.engine.occupancy import Occupancy
from backend.engine.rendering import render
from backend.mesh import raycast
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.bake import Photos, along_normals, bake, in_sight, looked_up
from backend.mesh.creases import shaded
from backend.mesh.fidelity import compare
from backend.mesh.surface import extract, sample_density
from backend.mesh.unwrap import paired_islands

CPU = torch.device("cpu")


CENTRES = torch.tensor([[0.0, 0.1, -0.1], [0.2, -0.3, 0.3]])
RADII = torch.tensor([0.5, 0.25])


@dataclass(frozen=True)
class Balls:
    """Two balls that meet, opaque within a few millimetres, coloured by place."""

    def density(self, x: Tensor) -> Tensor:
        distance = ((x[:, None] - CENTRES).norm(dim=-1) - RADII).min(dim=-1).values
        return 400 * torch.sigmoid(-distance / 0.004)

    def colour(self, x: Tensor) -> Tensor:
        return (x + 1) / 2

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(x), self.colour(x)


@dataclass(frozen=True)
class Slab:
    """Constant density below the ground, whose colour changes with depth; nothing above."""

    sigma: float

    def density(self, x: Tensor) -> Tensor:
        return self.sigma * (x[:, 2] < 0)

    def colour(self, x: Tensor) -> Tensor:
        return torch.stack([(-10 * x[:, 2]).clamp(0, 1), torch.zeros_like(x[:, 2]), torch.full_like(x[:, 2], 0.3)], -1)

    def density_and_colour(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(x), self.colour(x)


@pytest.fixture(scope="module")
def mesh() -> TriangleMesh:
    return extract(sample_density(Balls(), 48, 5.0, CPU), 5.0)


def camera(azimuth: float = 0.0, elevation: float = 0.0) -> Cameras:
    return framing(*(torch.tensor([value]) for value in (azimuth, elevation, math.radians(40), 1.1)))


def squares(*heights: float) -> TriangleMesh:
    """Unit squares around the vertical axis that face upwards."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], np.float32)
    vertices = np.concatenate([np.insert(corners, 2, height, axis=1) for height in heights])
    triangles = [np.array([[0, 1, 2], [0, 2, 3]]) + 4 * index for index in range(len(heights))]
    return TriangleMesh(vertices.astype(np.float32), np.concatenate(triangles).astype(np.int32))


def test_a_baked_mesh_looks_like_its_field(mesh: TriangleMesh) -> None:
    field, view = Balls(), camera(0.4, 0.1)
    uvs = paired_islands(len(mesh.triangles), 512)
    texture = bake(field, mesh, uvs, 512, CPU, Photos(pixels=96))
    seen = render(field, view, 96, Occupancy.of(field, 32, 0.2, CPU), 0.01)
    found = compare(seen, raycast.render(Asset(mesh, uvs, texture, shaded(mesh, "auto")), view, 96))
    assert found.psnr > 30
    assert found.silhouette_iou > 0.97


def test_colours_stay_where_they_are(mesh: TriangleMesh) -> None:
    """Nothing is mirrored or turned: the middle of each face has the colour of its place."""
    uvs = paired_islands(len(mesh.triangles), 512)
    texture = bake(Balls(), mesh, uvs, 512, CPU, Photos(pixels=64))
    middle = uvs.mean(axis=1) * 512
    found = texture[511 - middle[:, 1].astype(int), middle[:, 0].astype(int)] / 255
    expected = (mesh.vertices[mesh.triangles].mean(axis=1) + 1) / 2
    assert np.abs(found - expected).max() < 0.06
    assert np.abs(found - expected).mean() < 0.015


def test_texels_that_no_view_shows_still_get_their_colour(mesh: TriangleMesh) -> None:
    hidden = TriangleMesh(squares(0.0).vertices * np.float32(0.2), squares(0.0).triangles)
    both = TriangleMesh(
        np.concatenate([hidden.vertices, mesh.vertices]),
        np.concatenate([hidden.triangles, mesh.triangles + len(hidden.vertices)]).astype(np.int32),
    )
    uvs = paired_islands(len(both.triangles), 256)
    texture = bake(Balls(), both, uvs, 256, CPU, Photos(pixels=32))
    middle = uvs[:2].mean(axis=1) * 256
    found = texture[255 - middle[:, 1].astype(int), middle[:, 0].astype(int)] / 255
    # In solid matter the first sample of the way along the normal decides: 5 cm above.
    expected = (hidden.vertices[hidden.triangles].mean(axis=1) + [0, 0, 0.05] + 1) / 2
    np.testing.assert_allclose(found, expected, atol=0.03)
    np.testing.assert_allclose(found[:, 2], 0.525, atol=0.005)


@pytest.mark.parametrize("sigma", [5.0, 80.0])
def test_along_a_normal_colours_are_composited_front_to_back(sigma: float) -> None:
    field = Slab(sigma)
    points = torch.tensor([[0.1, 0.2, 0.0], [0.0, 0.0, -0.01]])
    found = along_normals(field, points, torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3))
    # Eight samples 2 cm apart, the first 5 cm above the point.
    for point, colour in zip(points.tolist(), found, strict=True):
        light, passed, opacity = torch.zeros(3), 1.0, 0.0
        for index in range(8):
            at = torch.tensor([[point[0], point[1], point[2] + 0.05 - 0.02 * index]])
            stopped = 1 - math.exp(-field.density(at).item() * 0.02)
            light, opacity = light + passed * stopped * field.colour(at)[0], opacity + passed * stopped
            passed *= 1 - stopped
        torch.testing.assert_close(colour, light / opacity, atol=1e-5, rtol=0)


def test_where_there_is_nothing_the_colour_at_the_point_counts() -> None:
    point = torch.tensor([[0.0, 0.0, 0.5]])
    found = along_normals(Slab(50.0), point, torch.tensor([[0.0, 0.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0, 0.3]]))
    assert along_normals(Slab(50.0), point[:0], point[:0]).shape == (0, 3)


def test_a_point_is_in_sight_if_it_faces_the_eye_and_nothing_stands_before_it() -> None:
    mesh = squares(0.0, 0.4)
    points = torch.tensor([[0.0, 0.0, 0.0], [0.4, 0.0, 0.4], [0.0, 0.0, 0.4], [0.0, -0.4, 0.0]])
    up = torch.tensor([[0.0, 0.0, 1.0]]).expand(4, 3)
    above, cosine = in_sight(raycast.RayCaster(mesh), points, up, torch.tensor([0.0, 0.0, 3.0]))
    assert above.tolist() == [1, 2]
    torch.testing.assert_close(cosine, torch.tensor([2.6 / math.hypot(2.6, 0.4), 1.0]))
    # Aside, the ray to the lower square's rim passes outside of the upper one; all turn away from below.
    aside, _ = in_sight(raycast.RayCaster(mesh), points, up, torch.tensor([0.0, -3.0, 2.6]))
    assert aside.tolist() == [1, 2, 3]
    below, _ = in_sight(raycast.RayCaster(mesh), points, up, torch.tensor([0.0, 0.0, -3.0]))
    assert below.tolist() == []


def test_a_picture_is_looked_up_where_its_camera_shows_the_points(generator: torch.Generator) -> None:
    view = camera(0.7, -0.3)
    image = torch.rand(4, 8, 8, generator=generator)
    origin, directions = view.rays(8, 8)
    distance = 1 + torch.rand(64, 1, generator=generator)
    found = looked_up(image, view, origin + distance * directions.reshape(64, 3))
    torch.testing.assert_close(found, image.flatten(1).T, atol=1e-4, rtol=0)
