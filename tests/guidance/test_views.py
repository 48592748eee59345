import math

import torch

from backend.engine.cameras import CameraDistribution, EvenRigs, framing, ring
from backend.engine.shading import LightDistribution, Lights
from backend.guidance.views import FEATURES, Views, places, shown


def test_the_numbers_of_a_view_are_those_worked_out_by_hand() -> None:
    cameras = framing(
        azimuth=torch.tensor([math.pi / 2, math.pi / 4]),
        elevation=torch.tensor([0.0, math.pi / 6]),
        fov=torch.tensor([0.7, 0.8]),
        margin=torch.tensor([1.12, 1.17]),
    )
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8]]), torch.tensor([1.0, 0.5]))
    half = math.sqrt(0.5)
    expected = torch.tensor(
        [
            # From the left, level, unlit: azimuth, twice azimuth, elevation, field of view, margin, ambient, light.
            [1, 0, 0, -1, 0, 1, 0, 0, 1, 0, 0, 0],
            [half, half, 1, 0, 0.5, math.sqrt(0.75), 1, 1, 0, 0.9, 0, 1.2],
        ]
    )
    found = Views(cameras, lights).features
    assert found.shape == (2, FEATURES)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_camera_matrix_is_worked_out_by_looking_from_its_place_at_the_origin(generator: torch.Generator) -> None:
    cameras = EvenRigs().rigs(25, 4, generator)
    found = Views.unlit(cameras).camera_matrices
    x, y, z = torch.nn.functional.normalize(cameras.position, dim=1).unbind(1)
    place = torch.stack([-y, x, z], dim=1)  # a quarter turn: what faces -y here faces +x there
    right = torch.linalg.cross(-place, torch.tensor([[0.0, 0.0, 1.0]]))
    right = torch.nn.functional.normalize(right, dim=1)
    up = torch.linalg.cross(right, -place)
    last = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(100, -1)
    expected = torch.cat([torch.stack([right, up, place, place], dim=2).flatten(1), last], dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_front_camera_stands_on_plus_x_where_mvdream_has_its_fronts() -> None:
    front = framing(torch.zeros(1), torch.zeros(1), torch.tensor([0.7]), torch.tensor([1.1]))
    matrix = torch.tensor([[0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]).float()
    torch.testing.assert_close(Views.unlit(front).camera_matrices, matrix.reshape(1, 16), atol=1e-6, rtol=0)


def test_a_model_is_told_as_many_numbers_as_it_takes(generator: torch.Generator) -> None:
    views = Views.unlit(EvenRigs().rigs(1, 4, generator))
    assert torch.equal(views.told(12), views.features)
    assert torch.equal(views.told(16), views.camera_matrices)


def test_they_are_of_about_unit_size(generator: torch.Generator) -> None:
    cameras = CameraDistribution().sample(2000, generator)
    lights = LightDistribution().sample(torch.tensor([[0.0, 0.0, 1.0]]).expand(2000, 3), generator)
    features = Views(cameras, lights).features
    assert features.abs().max() < 2.5
    size = features.square().mean(0).sqrt()
    assert size.min() > 0.3
    assert size.max() < 1.3


def test_a_whole_turn_changes_nothing() -> None:
    def features(azimuth: float) -> torch.Tensor:
        cameras = framing(*(torch.tensor([value]) for value in (azimuth, 0.3, 0.7, 1.1)))
        return Views(cameras, Lights(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([0.5]))).features

    torch.testing.assert_close(features(0.4), features(0.4 + 2 * math.pi), atol=1e-5, rtol=0)


def test_a_pixel_lies_where_its_ray_meets_the_plane_through_the_middle(generator: torch.Generator) -> None:
    cameras = CameraDistribution().sample(8, generator)
    found = places(Views.unlit(cameras).features, 6, 6)
    origins, directions = cameras.rays(6, 6)
    away = torch.einsum("bhwi,bi->bhw", directions, -cameras.backward)
    met = origins[:, None, None] + directions * (cameras.distance[:, None, None] / away)[..., None]
    halves = cameras.distance * torch.tan(cameras.fov / 2)
    torch.testing.assert_close(found[:, :3].permute(0, 2, 3, 1), met / halves[:, None, None, None], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 3:], cameras.backward[:, :, None, None].expand(-1, -1, 6, 6))


def test_from_the_other_side_left_is_right() -> None:
    front, back = places(Views.unlit(ring(2, elevation_degrees=0)).features, 4, 4)
    torch.testing.assert_close(front[0], back[0].flip(-1))
    torch.testing.assert_close(front[2], back[2])
    assert (front[4] == -1).all()


def test_places_are_shown_to_those_that_take_them_and_are_zeros_where_nothing_is_told(
    generator: torch.Generator,
) -> None:
    pictures = torch.rand(2, 12, 4, 4, generator=generator)
    told = Views.unlit(CameraDistribution().sample(2, generator)).features
    assert shown(pictures, told, 12) is pictures
    assert shown(pictures, None, 18) is pictures
    seen = shown(pictures, told, 18)
    assert torch.equal(seen, torch.cat([pictures, places(told, 4, 4)], dim=1))
    assert not shown(pictures, 0 * told, 18)[:, 12:].any()
