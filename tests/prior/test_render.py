import math

import pytest
import torch

from backend.engine.cameras import Cameras, framing, ring
from backend.engine.shading import LightDistribution, Lights
from backend.prior.materials import COLOURS, PATTERNS, contrast
from backend.prior.render import trace
from backend.prior.shapes import SHAPES, VARIATIONS

BY_NAME = {shape.name: shape for shape in SHAPES}
RED = torch.tensor([COLOURS["red"]])
WHITE, GREY = torch.ones(1, 3), torch.full((1, 3), 0.5)


def one(
    name: str, pattern: int = 0, azimuth: float = 0.0, elevation: float = 0.0, ambient: float = 1.0, size: int = 48
):
    camera = framing(*(torch.tensor([v]) for v in (azimuth, elevation, math.radians(40), 1.1)))
    lights = Lights(camera.backward, torch.tensor([ambient]))
    return trace(BY_NAME[name], torch.full((1, VARIATIONS), 0.5), torch.tensor([pattern]), camera, lights, size)


def test_a_sphere_covers_the_disc_that_geometry_predicts() -> None:
    # Seen from distance d, a sphere of radius r has the angular radius asin(r / d).
    d = math.sqrt(1 + (1.1 / math.tan(math.radians(20))) ** 2)
    radius = math.tan(math.asin(0.825 / d)) / math.tan(math.radians(20))
    coverage = one("sphere").stack[0, 0].mean().item()
    assert coverage == pytest.approx(math.pi * radius**2 / 4, rel=0.01)


def test_brightness_at_the_middle_of_a_sphere_is_full_and_falls_towards_the_rim() -> None:
    main = one("sphere", ambient=0.2).stack[0, 1]
    assert main[24, 24] == pytest.approx(1.0, abs=0.01)
    assert main[24, 42] < 0.6


def test_plain_pictures_hold_the_asked_for_colour_and_background() -> None:
    image = one("cube").coloured(RED, WHITE, GREY)
    torch.testing.assert_close(image[0, :, 24, 24], RED[0])
    torch.testing.assert_close(image[0, :, 0, 0], GREY[0])


def test_fixed_parts_keep_their_colour_whatever_the_caption_says() -> None:
    layers = one("mushroom")
    red, white = layers.coloured(RED, WHITE, GREY), layers.coloured(WHITE, WHITE, GREY)
    stem = slice(38, 41), slice(22, 26)
    torch.testing.assert_close(red[0, :, *stem], white[0, :, *stem])
    assert not torch.allclose(red, white)


def test_untextured_pictures_show_every_part_in_one_albedo() -> None:
    image = one("mushroom").untextured(torch.full((1, 3), 0.7), torch.zeros(1, 3))
    covered = one("mushroom").stack[0, 0] == 1
    torch.testing.assert_close(image[0, 0][covered], torch.full((int(covered.sum()),), 0.7))


def test_shares_add_up_to_the_coverage_in_ambient_light() -> None:
    stack = one("hat", pattern=1).stack
    named, fixed = stack[0, 1] + stack[0, 2], stack[0, 6] - stack[0, 1] - stack[0, 2]
    torch.testing.assert_close(stack[0, 6], stack[0, 0])
    assert named.min() >= 0
    assert fixed.min() >= -1e-6
    assert fixed.max() > 0.9  # the band


@pytest.mark.parametrize("pattern", range(1, 1 + len(PATTERNS)))
def test_patterns_show_both_colours(pattern: int) -> None:
    stack = one("sphere", pattern=pattern).stack[0]
    share = (stack[2].sum() / (stack[1] + stack[2]).sum()).item()
    assert 0.1 < share < 0.7


def test_a_mug_has_its_handle_on_the_right_in_front_and_on_the_left_behind() -> None:
    front, back = one("mug").stack[0, 0], one("mug", azimuth=math.pi).stack[0, 0]
    torch.testing.assert_close(front, back.flip(-1), atol=0.3, rtol=0)
    rows = front[20:28]
    holes = [((row[:-1] > 0.5) & (row[1:] <= 0.5)).sum().item() for row in rows]
    assert max(holes) == 2  # body, gap, handle


def test_a_donut_from_above_has_a_hole() -> None:
    assert one("donut", elevation=math.radians(60)).stack[0, 0, 24, 24] == 0
    assert one("donut", elevation=0.0).stack[0, 0, 24, 24] == 1


def test_pictures_of_a_batch_do_not_depend_on_each_other(generator: torch.Generator) -> None:
    cameras = ring(3, elevation_degrees=20)
    lights = LightDistribution().sample(cameras.backward, generator)
    u = torch.rand(3, VARIATIONS, generator=generator)
    pattern = torch.tensor([0, 1, 2])
    together = trace(BY_NAME["hat"], u, pattern, cameras, lights, 16).stack
    for i in range(3):
        camera = Cameras(*(getattr(cameras, k)[i : i + 1] for k in ("azimuth", "elevation", "fov", "distance")))
        light = Lights(lights.direction[i : i + 1], lights.ambient[i : i + 1])
        alone = trace(BY_NAME["hat"], u[i : i + 1], pattern[i : i + 1], camera, light, 16).stack
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=0)


def test_the_second_colour_of_a_pattern_stands_out() -> None:
    palette = torch.tensor(list(COLOURS.values()))
    assert (palette - contrast(palette)).norm(dim=-1).min() > 0.5
