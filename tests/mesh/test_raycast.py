import math

import numpy as np
import pytest
import torch

from backend.engine.cameras import Cameras, framing, ring
from backend.engine.shading import Lights
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.raycast import RayCaster, corner_normals, one_by_one, render, sampled, welded
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS

RADIUS = 0.825
COLOURS = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
CUBE = TriangleMesh(
    np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32),
    np.array(
        [
            *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
            *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
        ],
        np.int32,
    ),
)


def split(mesh: TriangleMesh) -> TriangleMesh:
    """The same surface with three vertices of its own for each triangle."""
    return TriangleMesh(
        mesh.vertices[mesh.triangles].reshape(-1, 3), np.arange(mesh.triangles.size, dtype=np.int32).reshape(-1, 3)
    )


def sphere(resolution: int = 48) -> TriangleMesh:
    return exact_mesh(SHAPES[0], torch.full((VARIATIONS,), 0.5), resolution)


def plain(mesh: TriangleMesh) -> Asset:
    uvs, texture = np.zeros((len(mesh.triangles), 3, 2), np.float32), np.full((2, 2, 3), 100, np.uint8)
    return Asset(mesh, uvs, texture, corner_normals(mesh))


def panel(y: float = 0.0) -> Asset:
    """A square of half a metre around the origin that faces the front view, with a texture of 2 x 2 texels."""
    vertices = np.array([[-0.5, y, -0.5], [0.5, y, -0.5], [0.5, y, 0.5], [-0.5, y, 0.5]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    mesh = TriangleMesh(vertices, triangles)
    return Asset(mesh, uvs[triangles], COLOURS, corner_normals(mesh))


def view(azimuth: float = 0.0, elevation: float = 0.0) -> Cameras:
    return framing(*(torch.tensor([value]) for value in (azimuth, elevation, math.radians(40), 1.1)))


def test_first_hits_are_those_of_brute_force(generator: torch.Generator) -> None:
    corners = torch.randn(40, 3, 3, generator=generator)
    origins = torch.randn(300, 3, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(300, 3, generator=generator), dim=-1)
    mesh = TriangleMesh(corners.reshape(-1, 3).numpy(), np.arange(120, dtype=np.int32).reshape(-1, 3))
    hits = RayCaster(mesh).first_hits(origins, directions)

    # origin + t direction = first + u (second - first) + v (third - first), solved for every pair.
    first, second, third = corners.double().unbind(1)
    system = torch.stack([second - first, third - first], dim=-1).expand(300, -1, -1, -1)
    system = torch.cat([system, -directions.double()[:, None, :, None].expand(-1, 40, -1, -1)], dim=-1)
    u, v, t = torch.linalg.solve(system, origins.double()[:, None] - first).unbind(-1)
    t = torch.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, math.inf)
    distance, triangle = t.min(dim=1)
    ray = distance.isfinite().nonzero()[:, 0]
    assert 50 < len(ray) < 250
    assert hits.ray.tolist() == ray.tolist()
    assert hits.triangle.tolist() == triangle[ray].tolist()
    torch.testing.assert_close(hits.distance, distance[ray].float(), atol=1e-4, rtol=1e-4)
    weights = torch.stack([1 - u - v, u, v], dim=-1)[ray, triangle[ray]].float()
    torch.testing.assert_close(hits.weights, weights, atol=1e-4, rtol=1e-4)
    meeting = hits.interpolated(corners)
    torch.testing.assert_close(meeting, origins[ray] + hits.distance[:, None] * directions[ray], atol=1e-4, rtol=1e-4)


def test_a_texture_stands_upright_and_is_not_mirrored() -> None:
    # The panel spans 73 to 183 of 256 pixels; at its corners a texel's colour is unmixed.
    shown = render(panel(), view(), 256)
    corners = shown.colour[0, :, [80, 80, 175, 175], [80, 175, 80, 175]].T * 255
    torch.testing.assert_close(corners, torch.from_numpy(COLOURS).reshape(4, 3).float(), atol=1e-3, rtol=0)


def test_lookup_is_bilinear_between_texel_centres_and_constant_beyond() -> None:
    texture = torch.from_numpy(COLOURS).permute(2, 0, 1).float()
    at = torch.tensor([[0.25, 0.75], [0.75, 0.25], [0.5, 0.75], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]])
    expected = [[250, 0, 0], [250, 250, 250], [125, 125, 0], [125, 125, 125], [250, 0, 0], [250, 250, 250]]
    torch.testing.assert_close(sampled(texture, at), torch.tensor(expected).float())


def test_depth_and_normals_of_a_panel_are_the_known_ones() -> None:
    camera = view()
    shown = render(panel(y=-0.25), camera, 33, supersampling=1)
    assert shown.depth[0, 16, 16].item() == pytest.approx(camera.distance.item() - 0.25, abs=1e-5)
    torch.testing.assert_close(shown.normals[0, :, 16, 16], torch.tensor([0.0, -1.0, 0.0]))
    for layer in (shown.colour, shown.opacity, shown.depth, shown.normals):
        assert (layer[..., 0, 0] == 0).all()


def test_pixels_on_an_edge_are_premultiplied_by_the_covered_share() -> None:
    # The panel's edges, at 5.7 and 14.3 of 20 pixels, cover a half of theirs (2 x 2 rays see no finer shares).
    shown = render(panel(), view(), 20, plain=torch.tensor([[0.2, 0.4, 0.8]]))
    torch.testing.assert_close(
        shown.colour[0], shown.opacity[0] * torch.tensor([0.2, 0.4, 0.8])[:, None, None], atol=1e-6, rtol=0
    )
    assert shown.opacity[0, 10, 4:7].tolist() == [0.0, 0.5, 1.0]


def test_a_closed_mesh_covers_its_outline_without_gaps() -> None:
    camera = view(0.3, 0.5)
    shown = render(plain(sphere()), camera, 128)
    # Seen from distance d, a sphere of radius r has the angular radius asin(r / d).
    rim = math.tan(math.asin(RADIUS / camera.distance.item())) / math.tan(math.radians(20))
    y, x = torch.meshgrid(*[(torch.arange(128) + 0.5) / 64 - 1] * 2, indexing="ij")
    distance = (x.square() + y.square()).sqrt()
    assert (shown.opacity[0][distance < rim - 0.03] == 1).all()
    assert (shown.opacity[0][distance > rim + 0.03] == 0).all()


def test_light_falls_as_lambert_says_and_spares_unlit_pictures() -> None:
    camera = view(0.3, 0.5)
    lights = Lights(camera.backward, torch.tensor([0.2]))
    lit = render(plain(sphere()), camera, 64, lights, plain=torch.ones(1, 3))
    solid = lit.opacity[0] == 1
    expected = 0.2 + 0.8 * (lit.normals[0] * camera.backward[0, :, None, None]).sum(0).clamp(min=0)
    torch.testing.assert_close(lit.colour[0, 0][solid], expected[solid], atol=1e-3, rtol=0)
    assert lit.colour[0, 0, 32, 32] > 0.99
    unlit = render(plain(sphere()), camera, 64)
    torch.testing.assert_close(unlit.colour[0, 0], 100 / 255 * unlit.opacity[0])


def test_views_of_a_batch_do_not_depend_on_each_other() -> None:
    cameras = ring(3, 20)
    lights = Lights(cameras.backward, torch.tensor([0.1, 0.5, 0.9]))
    albedo = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    together = render(panel(), cameras, 16, lights, albedo)
    for index, camera in enumerate(one_by_one(cameras)):
        light = Lights(lights.direction[index, None], lights.ambient[index, None])
        alone = render(panel(), camera, 16, light, albedo[index, None])
        assert torch.equal(alone.colour[0], together.colour[index])


def test_normals_of_a_cube_are_those_of_its_sides() -> None:
    normals = corner_normals(CUBE)
    expected = np.repeat(np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]]), 6, axis=0)
    np.testing.assert_allclose(normals.reshape(-1, 3), expected, atol=1e-6)


def test_normals_of_a_round_mesh_are_smooth_whether_it_is_welded_or_not() -> None:
    mesh = sphere()
    normals = corner_normals(mesh)
    radial = mesh.vertices[mesh.triangles] / RADIUS
    assert (normals * radial).sum(-1).min() > math.cos(math.radians(6))
    np.testing.assert_array_equal(normals, corner_normals(split(mesh)))


def test_a_face_without_area_has_no_say_in_normals() -> None:
    degenerate = TriangleMesh(CUBE.vertices, np.concatenate([CUBE.triangles, [[0, 1, 1]]]).astype(np.int32))
    normals = corner_normals(degenerate)
    np.testing.assert_array_equal(normals[:-1], corner_normals(CUBE))
    assert np.isfinite(normals).all()


def test_welding_undoes_splitting() -> None:
    whole = welded(split(CUBE))
    assert len(whole.vertices) == 8
    np.testing.assert_array_equal(whole.vertices[whole.triangles], CUBE.vertices[CUBE.triangles])
