import math

import pytest
import torch

from backend.engine.cameras import RIG_JITTER, CameraDistribution, Cameras, EvenRigs, framing, ring


def camera(azimuth: float, elevation: float) -> Cameras:
    return framing(*(torch.tensor([float(value)]) for value in (azimuth, elevation, math.radians(40), 1.1)))


def test_the_front_camera_stands_on_minus_y_and_looks_at_plus_y() -> None:
    front = camera(0, 0)
    position = front.position[0]
    assert position[1] < 0
    torch.testing.assert_close(position[[0, 2]], torch.zeros(2))
    _, directions = front.rays(3, 3)
    torch.testing.assert_close(directions[0, 1, 1], torch.tensor([0.0, 1.0, 0.0]))


def test_image_right_and_up_in_the_front_view_are_plus_x_and_plus_z() -> None:
    right, up = camera(0, 0).right_and_up
    torch.testing.assert_close(right[0], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(up[0], torch.tensor([0.0, 0.0, 1.0]))


def test_a_quarter_turn_is_the_view_from_plus_x() -> None:
    torch.testing.assert_close(camera(math.pi / 2, 0).backward[0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_row_zero_is_the_top_and_the_field_of_view_spans_the_height() -> None:
    _, directions = camera(0, 0).rays(1000, 10)
    top, bottom = directions[0, 0, 5], directions[0, -1, 5]
    assert top[2] > 0 > bottom[2]
    angle = math.degrees(math.acos((top[1:] @ bottom[1:]).item()))
    assert angle == pytest.approx(40, abs=0.1)


def test_the_unit_sphere_always_fits_the_frame(generator: torch.Generator) -> None:
    cameras = CameraDistribution().sample(500, generator)
    points = torch.nn.functional.normalize(torch.randn(2000, 3, generator=generator), dim=-1)
    right, up = cameras.right_and_up
    towards = points[None] - cameras.position[:, None]
    depth = -(towards * cameras.backward[:, None]).sum(-1)
    scale = torch.tan(cameras.fov / 2)[:, None]
    for axis in (right, up):
        across = (towards * axis[:, None]).sum(-1) / depth / scale
        assert across.abs().max() < 1
    # ... and fills a good part of it: the outline reaches 1/1.2 of the half frame at the least.
    assert ((towards * up[:, None]).sum(-1) / depth / scale).amax(1).min() > 1 / 1.25


def test_draws_stay_in_their_ranges_and_depend_on_the_generator_alone() -> None:
    distribution = CameraDistribution()
    first = distribution.sample(1000, torch.Generator().manual_seed(1))
    again = distribution.sample(1000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(first.position, again.position, atol=0, rtol=0)
    degrees = torch.rad2deg(first.elevation)
    assert -10 <= degrees.min() < -8
    assert 58 < degrees.max() <= 60


def test_a_margin_that_cuts_the_sphere_off_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CameraDistribution(margin=(0.9, 1.1))


def test_directions_are_seen_as_right_up_and_towards_the_camera() -> None:
    cameras = CameraDistribution().sample(5, torch.Generator().manual_seed(2))
    right, up = cameras.right_and_up
    mixed = 0.3 * right - 2.0 * up + 0.5 * cameras.backward
    torch.testing.assert_close(cameras.seen(mixed), torch.tensor([[0.3, -2.0, 0.5]]).expand(5, -1))
    # From the front, +x is to the right, +z is up, and -y comes towards the camera.
    front = camera(0, 0)
    for axis, expected in (((1.0, 0.0, 0.0), 0), ((0.0, 0.0, 1.0), 1), ((0.0, -1.0, 0.0), 2)):
        torch.testing.assert_close(front.seen(torch.tensor([axis])), torch.eye(3)[expected : expected + 1])


@pytest.mark.parametrize("views", [1, 2, 4])
def test_a_rig_is_spread_evenly_but_for_some_jitter(views: int, generator: torch.Generator) -> None:
    cameras = CameraDistribution().rigs(50, views, generator)
    azimuth = cameras.azimuth.unflatten(0, (50, views))
    turn = 2 * math.pi / views
    apart = (azimuth.roll(-1, 1) - azimuth) % (2 * math.pi)
    off = (apart - turn + math.pi) % (2 * math.pi) - math.pi
    assert off.abs().max() <= 0.4 * turn + 1e-5
    assert cameras.azimuth.abs().max() <= math.pi
    assert len(set(azimuth[:, 0].tolist())) == 50


def test_a_ring_starts_in_front_and_goes_all_around() -> None:
    torch.testing.assert_close(ring(4, elevation_degrees=0).azimuth.rad2deg(), torch.tensor([0.0, 90.0, 180.0, 270.0]))


def test_tiling_repeats_the_whole_batch() -> None:
    cameras = ring(4, elevation_degrees=0)
    torch.testing.assert_close(cameras.tiled(2).position, torch.cat([cameras.position] * 2))


def test_the_margin_is_the_one_that_a_camera_was_framed_with(generator: torch.Generator) -> None:
    margin, fov = 1 + torch.rand(100, generator=generator), 0.3 + torch.rand(100, generator=generator)
    cameras = framing(torch.zeros(100), torch.zeros(100), fov, margin)
    torch.testing.assert_close(cameras.margin, margin, atol=1e-5, rtol=1e-5)


def test_columns_are_what_cameras_are_made_of() -> None:
    cameras = ring(3, elevation_degrees=10)
    torch.testing.assert_close(Cameras(*cameras.columns).position, cameras.position, atol=0, rtol=0)


def test_a_rig_goes_around_in_nearly_equal_turns(generator: torch.Generator) -> None:
    cameras = CameraDistribution().rigs(200, 4, generator)
    azimuth = cameras.azimuth.reshape(200, 4)
    assert azimuth.abs().max() <= math.pi + 1e-5
    turns = torch.remainder(torch.diff(azimuth, append=azimuth[:, :1]), 2 * math.pi) / (math.pi / 2)
    assert 1 - RIG_JITTER <= turns.min() < 0.8
    assert 1.2 < turns.max() <= 1 + RIG_JITTER + 1e-4
    torch.testing.assert_close(turns.sum(1), torch.full((200,), 4.0))


def test_rigs_look_from_everywhere_and_their_cameras_differ_as_single_ones_do(generator: torch.Generator) -> None:
    cameras = CameraDistribution().rigs(500, 4, generator)
    quarters = ((cameras.azimuth + math.pi) / (math.pi / 2)).long().clamp(max=3).bincount()
    assert (quarters - 500).abs().max() < 100
    degrees = torch.rad2deg(cameras.elevation)
    assert -10 <= degrees.min() < -8
    assert 58 < degrees.max() <= 60
    assert (degrees.reshape(500, 4).std(1) > 1).float().mean() > 0.95
    assert cameras.margin.min() >= 1.04 - 1e-4
    assert cameras.margin.max() <= 1.2 + 1e-4


def test_an_even_rig_differs_in_azimuth_alone_by_equal_turns(generator: torch.Generator) -> None:
    cameras = EvenRigs().rigs(500, 4, generator)
    azimuth, *others = (column.unflatten(0, (500, 4)) for column in cameras.columns)
    turns = (azimuth.roll(-1, 1) - azimuth) % (2 * math.pi)
    torch.testing.assert_close(turns, torch.full_like(turns, math.pi / 2))
    for other in others:
        assert torch.equal(other, other[:, :1].expand(-1, 4))
    elevation, fov, distance = (other[:, 0] for other in others)
    for drawn, least, most in (
        (elevation.rad2deg(), 0, 30),
        (fov.rad2deg(), 15, 60),
        (distance * torch.tan(fov / 2), 0.6, 0.75),
    ):
        assert least - 1e-4 <= drawn.min() < least + 0.05 * (most - least)
        assert most + 1e-4 >= drawn.max() > most - 0.05 * (most - least)
    assert distance.min() > 1


def test_cameras_of_even_rigs_stand_alone_where_no_rigs_are_wanted(generator: torch.Generator) -> None:
    cameras = EvenRigs().sample(200, generator)
    assert len(cameras.elevation.unique()) == len(cameras.azimuth.unique()) == 200


def test_even_rigs_whose_cameras_would_stand_inside_the_sphere_are_refused() -> None:
    with pytest.raises(ValueError, match="inside the unit sphere"):
        EvenRigs(half_frame=(0.5, 0.7))


def test_rigs_depend_on_the_generator_alone() -> None:
    first, again = (CameraDistribution().rigs(3, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(first.position, again.position, atol=0, rtol=0)


def test_stratified_cameras_have_one_in_each_part_of_the_turn(generator: torch.Generator) -> None:
    drawn = [CameraDistribution(stratified=True).sample(4, generator).azimuth for _ in range(200)]
    azimuths = torch.stack(drawn).rad2deg()
    quarters = torch.tensor([-180.0, -90.0, 0.0, 90.0])
    assert ((azimuths >= quarters) & (azimuths < quarters + 90)).all()
    # Uniform within each: 200 draws from 90 degrees have a mean within 3 standard errors (1.84 each) of the middle.
    torch.testing.assert_close(azimuths.mean(0), quarters + 45, atol=5.6, rtol=0)


def test_cameras_that_are_not_stratified_are_those_they_always_were() -> None:
    draws = torch.Generator().manual_seed(0)
    azimuth = 2 * math.pi * torch.rand(5, generator=torch.Generator().manual_seed(0)) - math.pi
    assert torch.equal(CameraDistribution().sample(5, draws).azimuth, azimuth)
