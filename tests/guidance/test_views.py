import math

import torch

from backend.engine.cameras import CameraDistribution, framing
from backend.engine.shading import LightDistribution, Lights
from backend.guidance.views import FEATURES, Views


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
