import pytest
import torch

from backend.prior.materials import COLOURS
from backend.prior.shapes import SHAPES, VARIATIONS, Shape

REQUIRED = (
    "sphere cube cone cylinder donut mug bowl table chair lamp mushroom snowman tree rocket house car hat hammer"
    " dumbbell"
)

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


def on_unit_sphere(count: int, generator: torch.Generator) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)


def test_there_are_at_least_twenty_objects_and_twelve_colours() -> None:
    names = {shape.name for shape in SHAPES}
    assert set(REQUIRED.split()) <= names
    assert len(names) >= 20
    assert len(COLOURS) == 12


@each_shape
def test_it_stays_inside_the_unit_sphere_for_extreme_variations(shape: Shape, generator: torch.Generator) -> None:
    p = on_unit_sphere(20_000, generator)
    u = torch.rand(len(p), VARIATIONS, generator=generator).round()
    assert shape.distance(p, u).min() > 0


@each_shape
def test_it_is_large_enough_to_be_seen(shape: Shape, generator: torch.Generator) -> None:
    p = 2 * torch.rand(20_000, 3, generator=generator) - 1
    u = torch.rand(VARIATIONS, generator=generator).expand(len(p), -1)
    inside = p[shape.distance(p, u) < 0]
    assert (inside.amax(0) - inside.amin(0)).max() > 0.9


@each_shape
def test_every_number_of_a_variation_that_matters_changes_the_shape(shape: Shape, generator: torch.Generator) -> None:
    p = 2 * torch.rand(5000, 3, generator=generator) - 1
    low, high = torch.zeros(5000, VARIATIONS), torch.ones(5000, VARIATIONS)
    assert (shape.distance(p, low) - shape.distance(p, high)).abs().max() > 0.02


@each_shape
def test_a_step_along_the_ray_never_jumps_through_the_surface(shape: Shape, generator: torch.Generator) -> None:
    p = 2 * torch.rand(20_000, 3, generator=generator) - 1
    u = torch.rand(len(p), VARIATIONS, generator=generator)
    d = shape.distance(p, u)
    outside = d > 0
    after = shape.distance(p + 0.92 * d[:, None] * on_unit_sphere(len(p), generator), u)
    # Ellipsoids overestimate a little off their axes; a hit is anything within 2e-3.
    assert (after[outside] > -0.02).all()


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.has_front], ids=[s.name for s in SHAPES if s.has_front])
def test_front_and_back_differ(shape: Shape, generator: torch.Generator) -> None:
    p = 1.6 * torch.rand(20_000, 3, generator=generator) - 0.8
    u = torch.rand(VARIATIONS, generator=generator).expand(len(p), -1)
    behind = p * torch.tensor([1.0, -1.0, 1.0])
    nearest = [torch.stack([part.distance for part in shape.parts(q, u)]) for q in (p, behind)]
    assert (nearest[0] - nearest[1]).abs().max() > 0.05


def test_natural_colours_are_colours() -> None:
    assert {colour for shape in SHAPES for colour in shape.natural} <= set(COLOURS)
