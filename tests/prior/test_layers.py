import math

import numpy as np
import pytest
import torch
import trimesh

from backend.engine.cameras import CameraDistribution, Cameras, framing, ring
from backend.engine.shading import Lights
from backend.mesh.asset import TriangleMesh
from backend.prior.layers import Layers, cast
from backend.prior.objects import Surface, Texture, to_linear

BLUE = (0.1, 0.2, 0.8)


def surface(mesh: trimesh.Trimesh, colour: tuple[float, float, float] = BLUE) -> Surface:
    count = len(mesh.faces)
    return Surface(
        mesh=TriangleMesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)),
        colours=to_linear(torch.tensor(colour)).expand(count, 3, 3),
        uvs=torch.zeros(count, 3, 2),
        texture=torch.full((count,), -1),
        textures=(),
    )


def walls(*places: float, turned_round: bool = False) -> trimesh.Trimesh:
    """Squares of side 1 that face the front, at the given y."""
    corners = [[(-0.5, y, -0.5), (0.5, y, -0.5), (0.5, y, 0.5), (-0.5, y, 0.5)] for y in places]
    order = [(0, 2, 1), (0, 3, 2)] if turned_round else [(0, 1, 2), (0, 2, 3)]
    faces = [[index + 4 * wall for index in face] for wall in range(len(places)) for face in order]
    return trimesh.Trimesh(np.array(corners, dtype=float).reshape(-1, 3), faces, process=False)


def camera(azimuth_degrees: float = 0, elevation_degrees: float = 0, margin: float = 1.1) -> Cameras:
    angles = (math.radians(azimuth_degrees), math.radians(elevation_degrees), math.radians(40))
    return framing(*(torch.tensor([float(value)]) for value in (*angles, margin)))


BALL = trimesh.creation.icosphere(5)


def test_a_ball_covers_the_disc_that_its_margin_says() -> None:
    layers = cast(surface(BALL), camera(30, 20, margin=1.2), 64)
    assert layers.coverage.sum().item() == pytest.approx(math.pi * (32 / 1.2) ** 2, rel=0.005)
    assert layers.coverage.max() == 1
    assert layers.coverage[0, 0, 0] == 0


def test_a_balls_normals_are_those_of_the_sphere_in_the_cameras_frame() -> None:
    cameras = camera(-70, 35)
    layers = cast(surface(BALL), cameras, 48)
    position, directions = cameras.rays(48, 48)
    along = (directions * position[:, None, None]).sum(-1)
    under_root = along.square() - position.square().sum(-1)[:, None, None] + 1
    points = position[:, None, None] + (-along - under_root.clamp(min=0).sqrt())[..., None] * directions
    frame = torch.stack([*cameras.right_and_up, cameras.backward], dim=1)
    expected = torch.einsum("bij,bhwj->bihw", frame, points)
    inside = under_root > 0.1  # at the rim a pixel's mean is not its middle
    error = (layers.normals - expected).norm(dim=1)[inside]
    assert error.max() < 0.02


def test_albedo_is_the_display_colour_times_coverage() -> None:
    layers = cast(surface(BALL), camera(), 32)
    assert 0 < layers.coverage[layers.coverage > 0].min() < 1
    expected = torch.tensor(BLUE)[None, :, None, None] * layers.coverage[:, None]
    torch.testing.assert_close(layers.albedo, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("azimuth", [0, 30, -50, 130, 180])
@pytest.mark.parametrize("turned_round", [False, True])
def test_a_wall_has_one_normal_on_the_side_that_is_seen(azimuth: float, turned_round: bool) -> None:
    layers = cast(surface(walls(0, turned_round=turned_round)), camera(azimuth), 32)
    # The wall's normal is -y from in front and +y from behind, turned by the camera's azimuth.
    turn = math.radians(azimuth)
    side = 1 if math.cos(turn) > 0 else -1
    normal = torch.tensor([-side * math.sin(turn), 0, side * math.cos(turn)])
    full = layers.coverage == 1
    assert full.any()
    torch.testing.assert_close(layers.normals.permute(0, 2, 3, 1)[full], normal.expand(int(full.sum()), 3))


@pytest.mark.parametrize("azimuth", [0, 8, 16, 24, 32])
def test_at_an_outline_smooth_normals_lean_over_it_but_do_not_turn_back(azimuth: float) -> None:
    post = trimesh.creation.cylinder(0.6, 1.2, sections=9)  # 40 degrees from face to face: shaded smooth
    layers = cast(surface(post), camera(azimuth), 64)
    side = torch.arange(64) - 31.5
    rows = slice(20, 44)  # neither top nor bottom
    lean = layers.normals[0, 0, rows] * side.sign()
    full = (layers.coverage[0, rows] == 1) & (side.abs() > 10)
    assert full.any()
    assert lean[full].min() > 0


def test_a_ray_passes_through_what_is_cut_out_to_what_lies_behind() -> None:
    mesh = walls(-0.3, 0.3)
    texels = torch.ones(4, 1, 2)
    texels[3, 0, 1] = 0.2  # the right half
    uv = torch.tensor([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    red, green = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    fenced = Surface(
        mesh=TriangleMesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)),
        colours=torch.stack([red, red, green, green])[:, None].expand(-1, 3, -1),
        uvs=uv[torch.tensor([[0, 1, 2], [0, 2, 3]] * 2)],
        texture=torch.tensor([0, 0, -1, -1]),
        textures=(Texture(texels, 0.5),),
    )
    layers = cast(fenced, camera(), 33)
    assert layers.albedo[0, :, 16, 11].tolist() == pytest.approx([1, 0, 0])
    assert layers.albedo[0, :, 16, 20].tolist() == pytest.approx([0, 1, 0])
    assert layers.coverage[0, 16, 9:23].min() == 1
    everything_cut = Surface(fenced.mesh, fenced.colours, fenced.uvs, torch.zeros(4).long(), fenced.textures)
    through = cast(everything_cut, camera(), 33)
    assert through.coverage[0, 16, 11] == 1
    assert through.coverage[0, 16, 20] == 0


@pytest.fixture(scope="module")
def layers() -> Layers:
    cameras = CameraDistribution().sample(3, torch.Generator().manual_seed(1))
    return cast(surface(trimesh.creation.box((1, 0.8, 1.1))), cameras, 32)


def test_one_byte_a_value_keeps_layers(layers: Layers) -> None:
    again = Layers.unpacked(layers.packed())
    half_a_step = 0.5 / 255 + 1e-6
    torch.testing.assert_close(again.albedo, layers.albedo, atol=half_a_step, rtol=0)
    torch.testing.assert_close(again.coverage, layers.coverage, atol=half_a_step, rtol=0)
    torch.testing.assert_close(again.normals, layers.normals, atol=3 * half_a_step, rtol=0)


def test_packing_what_was_unpacked_changes_nothing(layers: Layers) -> None:
    stack = layers.packed()
    assert torch.equal(Layers.unpacked(stack).packed(), stack)


def test_smaller_layers_are_means_of_four_pixels(layers: Layers) -> None:
    small = layers.smaller()
    for whole, half in (
        (layers.albedo, small.albedo),
        (layers.coverage, small.coverage),
        (layers.normals, small.normals),
    ):
        means = (whole[..., ::2, ::2] + whole[..., 1::2, ::2] + whole[..., ::2, 1::2] + whole[..., 1::2, 1::2]) / 4
        torch.testing.assert_close(half, means)


def test_smaller_pictures_are_smaller_pictures_of_the_same() -> None:
    whole, half = (cast(surface(BALL), camera(), size) for size in (64, 32))
    assert (whole.smaller().coverage - half.coverage).abs().mean() < 0.01


def test_light_is_ambient_plus_lambert_over_the_background() -> None:
    layers = cast(surface(walls(0)), camera(), 8)
    lights = Lights(torch.tensor([[0.6, 0.0, 0.8]]), torch.tensor([0.3]))
    image = layers.lit(lights, torch.tensor([[0.5, 0.6, 0.7]]))
    middle = torch.tensor(BLUE) * (0.3 + 0.7 * 0.8)
    torch.testing.assert_close(image[0, :, 4, 4], middle, atol=1e-5, rtol=0)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([0.5, 0.6, 0.7]))


def test_light_of_ambient_one_shows_the_albedo(layers: Layers) -> None:
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0]] * 3), torch.ones(3))
    torch.testing.assert_close(layers.lit(lights, torch.zeros(3, 3)), layers.albedo)


def test_light_in_the_cameras_frame_is_that_of_the_world() -> None:
    cameras = ring(4, elevation_degrees=25)
    layers = cast(surface(BALL), cameras, 32)
    frame = torch.stack([*cameras.right_and_up, cameras.backward], dim=1)
    direction = torch.nn.functional.normalize(torch.tensor([[0.3, -0.5, 0.8]]), dim=-1)  # of one lamp in the world
    ambient = torch.full((4,), 0.4)
    image = layers.lit(Lights((frame @ direction.T)[..., 0], ambient), torch.zeros(4, 3))
    world = torch.einsum("bij,bihw->bhwj", frame, layers.normals)
    full = layers.coverage == 1
    shade = Lights(direction.expand(4, 3), ambient).shade(world)[full]
    torch.testing.assert_close(image.permute(0, 2, 3, 1)[full], shade[:, None] * torch.tensor(BLUE), atol=1e-5, rtol=0)


def test_images_of_packed_layers_stay_in_their_range(generator: torch.Generator) -> None:
    normals = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=-1)
    white = Layers(torch.ones(500, 3, 1, 1), torch.ones(500, 1, 1), normals[:, :, None, None])
    image = Layers.unpacked(white.packed()).lit(Lights(normals, torch.full((500,), 0.3)), torch.ones(500, 3))
    assert image.min() > 0.98
    assert image.max() <= 1
