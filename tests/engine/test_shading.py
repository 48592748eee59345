import pytest
import torch

from backend.engine.shading import BackgroundDistribution, LightDistribution, Lights, over


def light(ambient: float) -> Lights:
    return Lights(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([ambient]))


@pytest.mark.parametrize(
    ("normal", "expected"),
    [
        ((0.0, 0.0, 1.0), 1.0),  # facing the light: all of it
        ((0.0, 0.0, -1.0), 0.25),  # turned away: ambient only
        ((1.0, 0.0, 0.0), 0.25),  # grazing
        ((0.0, 0.6, 0.8), 0.25 + 0.75 * 0.8),
    ],
)
def test_shade_is_ambient_plus_lambertian(normal: tuple[float, float, float], expected: float) -> None:
    shade = light(0.25).shade(torch.tensor([normal])[:, None])
    assert shade.item() == pytest.approx(expected)


def test_full_ambient_light_shows_the_bare_colour(generator: torch.Generator) -> None:
    normals = torch.nn.functional.normalize(torch.randn(1, 50, 3, generator=generator), dim=-1)
    torch.testing.assert_close(light(1.0).shade(normals), torch.ones(1, 50))


def test_lights_are_near_the_camera(generator: torch.Generator) -> None:
    towards_camera = torch.tensor([[0.0, -1.0, 0.0]]).expand(2000, -1)
    lights = LightDistribution().sample(towards_camera, generator)
    torch.testing.assert_close(lights.direction.norm(dim=-1), torch.ones(2000))
    cosine = (lights.direction * towards_camera).sum(-1)
    assert cosine.mean() > 0.85
    assert cosine.std() > 0.05
    assert lights.ambient.min() >= 0.3
    assert lights.ambient.max() <= 0.9


def test_backgrounds_are_plain_colours_in_range(generator: torch.Generator) -> None:
    colours = BackgroundDistribution().sample(2000, generator)
    assert colours.min() >= 0
    assert colours.max() <= 1
    # Grey, slightly tinted: the channels of one colour lie close together, the levels do not.
    assert colours.std(dim=1).mean() < 0.06
    assert colours.mean(dim=1).std() > 0.2


def test_over_shows_the_background_where_nothing_covers_it() -> None:
    background = torch.tensor([[0.2, 0.4, 0.6]])
    alpha = torch.tensor([[[0.0, 1.0, 0.5]]])
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None] * alpha[:, None]
    image = over(red, alpha, background)
    torch.testing.assert_close(image[0, :, 0, 0], background[0])
    torch.testing.assert_close(image[0, :, 0, 1], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(image[0, :, 0, 2], torch.tensor([0.6, 0.2, 0.3]))
