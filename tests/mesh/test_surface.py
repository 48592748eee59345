import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.fields import Blob, GridField, VoxelField
from backend.engine.occupancy import Occupancy
from backend.engine.reference import Reference
from backend.engine.rendering import render
from backend.engine.sdf import SdfField
from backend.errors import UserError
from backend.mesh import surface
from backend.mesh.asset import TriangleMesh
from backend.mesh.raycast import RayCaster
from backend.mesh.surface import extract, find_level, sample_density, silhouette_agreement

CPU = torch.device("cpu")


class Balls:
    """Balls of density `height` that falls off over `width` at their surfaces."""

    def __init__(self, *balls: tuple[tuple[float, float, float], float], height: float = 100.0, width: float = 0.02):
        self.balls = balls
        self.height, self.width = height, width

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        gaps = torch.stack([(x - x.new_tensor(centre)).norm(dim=-1) - radius for centre, radius in self.balls])
        return self.height * torch.sigmoid(-gaps.amin(0) / self.width)

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return (x + 1) / 2

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        return self.density(x), self.colour(x)


class Constant(Balls):
    """The same density everywhere."""

    def __init__(self, value: float) -> None:
        self.value = value

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return torch.full((len(x),), self.value)


class Rod(Balls):
    """A rod of 3 cm around the z axis, 1.4 cells of the grid that it is tested on."""

    def __init__(self) -> None:
        """No balls."""

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return 100 * torch.sigmoid((0.015 - x[:, :2].norm(dim=-1)) / 0.005)


BALL = Balls(((0.1, 0.0, -0.2), 0.5))


def volume(mesh: TriangleMesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(np.float64), 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)


def edges_are_matched(mesh: TriangleMesh) -> bool:
    sides = [(a, b) for tri in mesh.triangles.tolist() for a, b in zip(tri, tri[1:] + tri[:1], strict=True)]
    return len(set(sides)) == len(sides) and set(sides) == {(b, a) for a, b in sides}


def test_a_ball_has_the_known_surface_and_faces_outwards() -> None:
    mesh = extract(sample_density(BALL, 48, 50.0, CPU), 50.0)
    radii = np.linalg.norm(mesh.vertices - np.array([0.1, 0.0, -0.2]), axis=-1)
    assert np.abs(radii - 0.5).max() < 0.15 * 2 / 47
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.5**3, rel=0.025)
    assert edges_are_matched(mesh)


@pytest.mark.parametrize("level", [1.0, 10.0, 90.0])
def test_vertices_lie_on_the_level_that_was_asked_for(level: float) -> None:
    mesh = extract(sample_density(BALL, 64, level, CPU), level)
    # 100 sigmoid(-gap / 0.02) = level
    radius = 0.5 - 0.02 * math.log(level / (100 - level))
    error = np.linalg.norm(mesh.vertices - np.array([0.1, 0.0, -0.2]), axis=-1) - radius
    assert np.abs(error).mean() < 0.1 * 2 / 63


def test_sampling_agrees_with_the_field_wherever_it_matters() -> None:
    size, level = 48, 20.0
    field = Balls(((0.1, 0.0, -0.2), 0.5), width=0.05)
    density = sample_density(field, size, level, CPU)
    along = torch.linspace(-1, 1, size)
    points = torch.stack(torch.meshgrid(along, along, along, indexing="ij"), dim=-1).reshape(-1, 3)
    expected = (field.density(points) * (points.norm(dim=-1) < 1)).reshape(size, size, size).numpy()
    np.testing.assert_array_equal(density >= level, expected >= level)
    # Both samples of a step through the surface are the field's own.
    for axis in range(3):
        steps = np.diff(expected >= level, axis=axis)
        for side in (slice(None, -1), slice(1, None)):
            at = (slice(None),) * axis + (side,)
            np.testing.assert_allclose(density[at][steps], expected[at][steps], rtol=1e-5)


def test_a_thin_rod_is_not_skipped() -> None:
    density = sample_density(Rod(), 96, 5.0, CPU)
    assert ((density >= 5.0).sum(axis=(0, 1))[1:95] > 0).all()


def test_what_lies_beyond_the_unit_sphere_is_cut_off_and_the_surface_closed() -> None:
    mesh = extract(sample_density(Balls(((1.0, 0.0, 0.0), 0.6)), 32, 50.0, CPU), 50.0)
    assert np.linalg.norm(mesh.vertices, axis=-1).max() <= 1.0 + 2 / 31
    assert edges_are_matched(mesh)
    assert volume(mesh) > 0.1


@pytest.mark.parametrize("height", [200.0, 5000.0])
def test_where_an_object_is_cut_off_it_is_round_and_has_no_steps(height: float) -> None:
    """All of the sphere is full: its surface is a sphere, in truth and not by stairs from sample to sample."""
    mesh = extract(sample_density(Balls(((0.0, 0.0, 0.0), 1.5), height=height), 128, 50.0, CPU), 50.0)
    radius, cell = np.linalg.norm(mesh.vertices, axis=-1), 2 / 127
    assert radius.mean() == pytest.approx(1 - cell / 4, abs=0.1 * cell)
    assert radius.std() < 0.1 * cell
    corners = mesh.vertices[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = corners.mean(1) / np.linalg.norm(corners.mean(1), axis=-1, keepdims=True)
    facing = (normals * outwards).sum(-1) / np.linalg.norm(normals, axis=-1).clip(1e-12)
    assert np.quantile(facing, 0.02) > 0.95, "less than 18 degrees from a sphere's"


def test_samples_exactly_at_the_level_make_no_double_vertices() -> None:
    density = np.zeros((8, 8, 8), np.float32)
    density[3:5, 3:5, 3:5] = 10.0
    density[2, 3:5, 3:5] = 5.0
    mesh = extract(density, 5.0)
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
    assert edges_are_matched(mesh)


def test_agreement_is_what_brute_force_counts(generator: torch.Generator) -> None:
    highest = torch.rand(200, generator=generator)
    seen = torch.rand(200, generator=generator) < highest
    levels, agreement = silhouette_agreement(highest, seen)
    assert (levels.diff() <= 0).all()
    for level, found in zip(levels.tolist(), agreement.tolist(), strict=True):
        above = highest >= level
        assert found == pytest.approx(((above & seen).sum() / (above | seen).sum()).item(), abs=1e-6)


@pytest.mark.parametrize("width", [0.002, 0.02, 0.1])
def test_the_found_level_has_the_silhouette_of_the_render(width: float) -> None:
    # A ray at distance r from the middle of a ball is opaque by half where its density adds up to log 2.
    field = Balls(((0.0, 0.0, 0.0), 0.5), width=width)
    r = torch.linspace(0.4, 0.99, 300)
    points = torch.cartesian_prod(r, torch.linspace(-1, 1, 1001), torch.zeros(1))
    thickness = (field.density(points) * (points.norm(dim=-1) < 1)).reshape(300, 1001).sum(1) * (2 / 1000)
    edge = r[thickness >= math.log(2)].max().item()
    level = find_level(field, CPU)
    found = 0.5 - width * math.log(level / (100 - level))
    assert found == pytest.approx(edge, abs=0.012)  # a pixel of the level's views is 0.02


def rough_voxels() -> GridField:
    return VoxelField(sizes=(48,), blob=Blob(centre=16.0, slope=40.0))


def sharp_distances() -> GridField:
    field = SdfField(sizes=(12,))
    field.refine(1.0)
    return field


@pytest.mark.parametrize(("new", "roughness"), [(rough_voxels, 1.0), (sharp_distances, 0.3)])
def test_the_mesh_at_the_found_level_covers_the_opaque_pixels_of_a_rough_field(
    new: Callable[[], GridField], roughness: float, generator: torch.Generator
) -> None:
    field = new()
    with torch.no_grad():
        field.levels[0].add_(roughness * torch.randn(field.levels[0].shape, generator=generator))
    level = find_level(field, CPU)
    mesh = extract(sample_density(field, 96, level, CPU), level)
    cameras = ring(1, elevation_degrees=0.0)
    with torch.no_grad():
        opaque = render(field, cameras, 64, Occupancy.of(field, 64, 0.01, CPU), 0.01).opacity[0] >= 0.5
    origins, directions = cameras.rays(64, 64)
    hits = RayCaster(mesh).first_hits(origins.expand(64 * 64, 3).contiguous(), directions.reshape(-1, 3))
    covered = torch.zeros(64 * 64, dtype=torch.bool)
    covered[hits.ray] = True
    covered = covered.reshape(64, 64)
    assert (covered & opaque).sum() / (covered | opaque).sum() > 0.97


def test_an_empty_field_is_refused_with_advice() -> None:
    with pytest.raises(UserError, match="more steps"):
        find_level(Constant(0.1), CPU)
    with pytest.raises(UserError, match="lower --level"):
        extract(sample_density(BALL, 16, 200.0, CPU), 200.0)


def test_fog_everywhere_is_refused_with_advice() -> None:
    with pytest.raises(UserError, match="fog"):
        find_level(Constant(1.0), CPU)


def test_an_opaque_scene_is_a_ball() -> None:
    # A metre of it lets 1 in 10^13 through: what is seen is a ball, and a ball may fill the scene.
    solid = Constant(30.0)
    mesh = extract(sample_density(solid, 48, find_level(solid, CPU), CPU), find_level(solid, CPU))
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi, rel=0.1)


def test_a_large_ball_is_no_fog() -> None:
    mesh = extract(sample_density(Balls(((0.0, 0.0, 0.0), 0.96)), 48, 50.0, CPU), 50.0)
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.96**3, rel=0.03)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(UserError, match="not finite"):
        sample_density(Constant(value), 16, 1.0, CPU)
    with pytest.raises(UserError, match="not finite"):
        find_level(Constant(value), CPU)


def test_the_level_is_looked_for_with_some_points_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Counting(Balls):
        def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
            asked.append(len(x))
            return super().density(x)

    field = Counting(((0.0, 0.0, 0.0), 0.5))
    whole = find_level(field, CPU)
    monkeypatch.setattr(surface, "POINTS_AT_ONCE", 1000)
    assert max(asked) > 3000
    asked.clear()
    assert find_level(field, CPU) == pytest.approx(whole)
    assert max(asked) == 1000


class Faint(Balls):
    """A ball, and so little of a rod through it from left to right that no view is opaque there."""

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        rod = (x[:, 1:].norm(dim=-1) < 0.1) & (x[:, 0].abs() < 0.9)
        return torch.maximum(super().density(x), 2.0 * rod)


def test_what_the_picture_shows_is_part_of_the_mesh_however_faint_it_is() -> None:
    field, camera = Faint(((0.0, 0.0, 0.0), 0.4)), ring(1, 0)
    occupancy = Occupancy.of(field, 64, 1e-4, CPU)
    opacity = render(field, camera, 128, occupancy, 0.02).opacity[0]
    assert find_level(field, CPU) > 2
    assert find_level(field, CPU, Reference(camera, (opacity > 0.5).float())) > 2
    assert find_level(field, CPU, Reference(camera, (opacity > 0.1).float())) <= 2
