"""The objects that the prior knows, as solids with room to vary.

Each object is a function from points `p` (..., 3) and variation `u` (..., VARIATIONS), numbers in
[0, 1], to parts: signed distances (...,) and what colours them. Objects stand upright (z up), face
the front view (-y) and stay inside the unit sphere for every variation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backend.prior.materials import CARROT, COAL, GLASS, IRON, IVORY, LIGHT, STEEL, WOOD, Rgb
from backend.prior.sdf import (
    at,
    blend,
    box,
    cone,
    cylinder,
    ellipsoid,
    mirrored,
    sphere,
    tilted,
    torus,
    turned,
    union,
    without,
)

VARIATIONS = 5
"""How many numbers in [0, 1] tell one mug from another."""


@dataclass(frozen=True)
class Part:
    """One part of an object. `colour` is fixed, or None: the colour that the caption names."""

    distance: Float[Tensor, "*n"]
    colour: Rgb | None = None


@dataclass(frozen=True)
class Shape:
    """An object of the prior's world.

    patterns: whether stripes and the like make sense on it. natural: the colours it has when a caption
    names none (empty: any). has_front: whether front and back look different.
    """

    name: str
    parts: Callable[[Float[Tensor, "*n 3"], Float[Tensor, "*n v"]], list[Part]]
    patterns: bool = False
    natural: tuple[str, ...] = ()
    has_front: bool = False

    def distance(self, p: Float[Tensor, "*n 3"], u: Float[Tensor, "*n v"]) -> Float[Tensor, "*n"]:
        """Signed distance to the whole object, negative inside."""
        return union(*(part.distance for part in self.parts(p, u)))


def vary(u: Tensor, index: int, low: float, high: float) -> Tensor:
    """A size between `low` and `high`, steered by one of the variation's numbers."""
    return low + (high - low) * u[..., index]


def _sphere(p: Tensor, u: Tensor) -> list[Part]:
    return [Part(sphere(p, vary(u, 0, 0.7, 0.95)))]


def _cube(p: Tensor, u: Tensor) -> list[Part]:
    half = vary(u, 0, 0.46, 0.56)
    return [Part(box(p, half, half, half, rounding=vary(u, 1, 0.0, 0.12)))]


def _cone(p: Tensor, u: Tensor) -> list[Part]:
    return [Part(cone(at(p, z=-0.04), vary(u, 0, 0.42, 0.56), 0.0, vary(u, 1, 0.55, 0.74)))]


def _cylinder(p: Tensor, u: Tensor) -> list[Part]:
    return [Part(cylinder(p, vary(u, 0, 0.32, 0.5), vary(u, 1, 0.55, 0.8), rounding=vary(u, 2, 0.0, 0.08)))]


def _donut(p: Tensor, u: Tensor) -> list[Part]:
    return [Part(torus(p, vary(u, 0, 0.56, 0.66), vary(u, 1, 0.22, 0.3)))]


def _mug(p: Tensor, u: Tensor) -> list[Part]:
    radius, half = vary(u, 0, 0.42, 0.54), vary(u, 1, 0.48, 0.62)
    body = at(p, x=-0.18)
    inside = cylinder(at(body, z=0.12), radius - 0.08, half)
    cup = without(cylinder(body, radius, half, rounding=0.04), inside)
    ring = turned(at(body, x=radius + 0.02), axis=1)
    handle = without(torus(ring, vary(u, 2, 0.26, 0.34), vary(u, 3, 0.07, 0.1)), cylinder(body, radius - 0.04, 2.0))
    return [Part(union(cup, handle))]


def _bowl(p: Tensor, u: Tensor) -> list[Part]:
    radius, cut = vary(u, 0, 0.8, 0.9), vary(u, 1, 0.0, 0.18)
    ball = at(p, z=0.26)
    shell = without(sphere(ball, radius), sphere(ball, radius - 0.09))
    rim = ball[..., 2] - cut
    foot = cylinder(at(ball, z=-radius + 0.04), vary(u, 2, 0.25, 0.4), 0.1)
    return [Part(union(torch.maximum(shell, rim), without(foot, sphere(ball, radius - 0.09))))]


def _table(p: Tensor, u: Tensor) -> list[Part]:
    x, y, height = vary(u, 0, 0.6, 0.72), vary(u, 1, 0.4, 0.5), vary(u, 2, 0.3, 0.42)
    thick = vary(u, 3, 0.06, 0.09)
    top = box(at(p, z=height - 0.06), x, y, thick, rounding=0.02)
    leg_half = vary(u, 4, 0.06, 0.1)
    corner = at(mirrored(p, 0, 1), x=x - 0.12, y=y - 0.12, z=-0.06)
    return [Part(union(top, box(corner, leg_half, leg_half, height)))]


def _chair(p: Tensor, u: Tensor) -> list[Part]:
    half, seat = vary(u, 0, 0.36, 0.44), vary(u, 1, -0.16, 0.0)
    top = vary(u, 2, 0.66, 0.78)
    slab = box(at(p, z=seat), half, half, 0.07, rounding=0.02)
    back = box(at(p, y=half - 0.06, z=(seat + top) / 2), half, 0.07, (top - seat) / 2, rounding=0.02)
    leg = vary(u, 3, 0.055, 0.085)
    corner = at(mirrored(p, 0, 1), x=half - leg, y=half - leg, z=(seat - 0.72) / 2)
    return [Part(union(slab, back, box(corner, leg, leg, (seat + 0.72) / 2)))]


def _lamp(p: Tensor, u: Tensor) -> list[Part]:
    height, bottom = vary(u, 0, 0.24, 0.32), vary(u, 1, 0.44, 0.56)
    shade = cone(at(p, z=0.45), bottom, vary(u, 2, 0.2, 0.34), height)
    pole = cylinder(at(p, z=-0.2), vary(u, 3, 0.05, 0.09), 0.6)
    foot = cylinder(at(p, z=-0.78), vary(u, 4, 0.3, 0.42), 0.06, rounding=0.03)
    return [Part(shade), Part(union(pole, foot), STEEL)]


def _mushroom(p: Tensor, u: Tensor) -> list[Part]:
    radius, height = vary(u, 0, 0.66, 0.82), vary(u, 1, 0.45, 0.62)
    seat = at(p, z=0.12)
    cap = torch.maximum(ellipsoid(seat, radius, radius, height), -seat[..., 2] - 0.06)
    stem = cone(at(p, z=-0.36), vary(u, 2, 0.24, 0.34), vary(u, 3, 0.16, 0.24), 0.46)
    return [Part(cap), Part(stem, IVORY)]


def _snowman(p: Tensor, u: Tensor) -> list[Part]:
    low, high = vary(u, 0, 0.38, 0.46), vary(u, 1, 0.22, 0.28)
    middle = (low + high) / 2
    chest = low - 0.93 + low * 0.75 + middle * 0.8
    crown = chest + middle * 0.75 + high * 0.8
    balls = union(sphere(at(p, z=low - 0.93), low), sphere(at(p, z=chest), middle), sphere(at(p, z=crown), high))
    nose = cone(turned(at(p, y=-high - 0.1, z=crown), axis=1), 0.0, 0.07, 0.14)
    eye = sphere(at(mirrored(p, 0), x=0.1, y=-high * 0.88, z=crown + 0.09), 0.05)
    button = sphere(at(p, y=-middle * 0.98, z=chest + 0.05), 0.055)
    return [Part(balls), Part(nose, CARROT), Part(union(eye, button), COAL)]


def _tree(p: Tensor, u: Tensor) -> list[Part]:
    width = vary(u, 0, 0.48, 0.62)
    tiers = [
        cone(at(p, z=z), width * size, 0.05, half)
        for z, size, half in ((-0.22, 1.0, 0.32), (0.18, 0.8, 0.3), (0.56, 0.58, 0.3))
    ]
    trunk = cylinder(at(p, z=-0.7), vary(u, 1, 0.1, 0.16), 0.22)
    return [Part(union(*tiers)), Part(trunk, WOOD)]


def _rocket(p: Tensor, u: Tensor) -> list[Part]:
    radius = vary(u, 0, 0.2, 0.28)
    hull = cylinder(at(p, z=-0.1), radius, 0.52)
    nose = cone(at(p, z=0.42 + 0.25), radius, 0.0, 0.25)
    reach = vary(u, 1, 0.42, 0.54)
    # Four fins: thin boxes through the axis, cut by a slanted plane to a swept shape.
    blade = mirrored(p, 0, 1)
    outwards = torch.maximum(blade[..., 0], blade[..., 1]) * 0.8
    slope = outwards + (p[..., 2] + 0.26) * 0.6 - 0.8 * radius
    fin = union(box(at(p, z=-0.56), reach, 0.05, 0.28), box(at(p, z=-0.56), 0.05, reach, 0.28))
    window = sphere(at(p, y=-radius, z=0.16), vary(u, 2, 0.1, 0.14))
    fins = torch.maximum(fin, slope)
    return [Part(hull), Part(union(nose, fins), IRON), Part(window, GLASS)]


def _house(p: Tensor, u: Tensor) -> list[Part]:
    x, y = vary(u, 0, 0.44, 0.54), vary(u, 1, 0.4, 0.5)
    walls = box(at(p, z=-0.34), x, y, 0.32)
    slope = vary(u, 2, 0.75, 1.0)
    eaves = torch.sqrt(1 + slope * slope)
    # A prism with its ridge along x: two slanted planes, the eaves and the gables.
    planes = (p[..., 1].abs() * slope + p[..., 2] + 0.02 - (y + 0.12) * slope) / eaves
    roof = torch.maximum(torch.maximum(planes, -p[..., 2] - 0.05), p[..., 0].abs() - x - 0.1)
    door = box(at(p, x=vary(u, 3, -0.2, 0.2), y=-y, z=-0.44), 0.11, 0.03, 0.22)
    pane = box(at(mirrored(p, 0), x=x, z=-0.28), 0.03, 0.14, 0.12)
    return [Part(roof), Part(walls, IVORY), Part(door, WOOD), Part(pane, GLASS)]


def _car(p: Tensor, u: Tensor) -> list[Part]:
    width, length = vary(u, 0, 0.36, 0.42), vary(u, 1, 0.76, 0.86)
    lower = box(at(p, z=-0.12), width, length, 0.17, rounding=0.07)
    roof_at, back = vary(u, 2, 0.36, 0.44), vary(u, 3, 0.1, 0.2)
    roof = box(at(p, y=back, z=roof_at - 0.06), width - 0.08, 0.38, 0.06, rounding=0.04)
    cabin = box(at(p, y=back, z=0.13), width - 0.06, 0.42, 0.22, rounding=0.06)
    wheel = turned(at(mirrored(p, 0, 1), x=width - 0.02, y=length * 0.6, z=-0.28), axis=0)
    lamp = sphere(at(mirrored(p, 0), x=width * 0.62, y=-length + 0.02, z=-0.08), 0.085)
    return [
        Part(union(lower, roof)),
        Part(cabin, GLASS),
        Part(cylinder(wheel, vary(u, 4, 0.18, 0.22), 0.08, rounding=0.03), COAL),
        Part(lamp, LIGHT),
    ]


def _hat(p: Tensor, u: Tensor) -> list[Part]:
    radius, half = vary(u, 0, 0.4, 0.5), vary(u, 1, 0.34, 0.46)
    crown = cone(at(p, z=half - 0.38), radius, radius * vary(u, 2, 0.9, 1.1), half)
    brim = cylinder(at(p, z=-0.4), vary(u, 3, 0.76, 0.88), 0.05, rounding=0.03)
    band = cylinder(at(p, z=-0.24), radius + 0.03, 0.09)
    return [Part(union(crown, brim)), Part(band, IRON)]


def _hammer(p: Tensor, u: Tensor) -> list[Part]:
    handle = cylinder(at(p, z=-0.16), vary(u, 0, 0.08, 0.11), 0.7, rounding=0.03)
    head_at = turned(at(p, z=0.56), axis=0)
    head = cylinder(head_at, vary(u, 1, 0.17, 0.23), vary(u, 2, 0.4, 0.52), rounding=0.03)
    return [Part(head), Part(handle, WOOD)]


def _dumbbell(p: Tensor, u: Tensor) -> list[Part]:
    along = turned(p, axis=0)
    radius = vary(u, 0, 0.32, 0.42)
    thick = vary(u, 1, 0.14, 0.22)
    weight = cylinder(at(mirrored(along, 2), z=0.56), radius, thick, rounding=0.06)
    bar = cylinder(along, vary(u, 2, 0.08, 0.11), 0.6)
    return [Part(weight), Part(bar, STEEL)]


def _duck(p: Tensor, u: Tensor) -> list[Part]:
    fat = vary(u, 0, 0.4, 0.5)
    body = ellipsoid(at(p, y=0.1, z=-0.28), fat, 0.66, 0.38)
    tail = ellipsoid(tilted(at(p, y=0.62, z=0.0), -0.7), 0.2, 0.14, 0.3)
    size = vary(u, 1, 0.28, 0.34)
    face = at(p, y=-0.32, z=0.34)
    head = sphere(face, size)
    beak = ellipsoid(at(face, y=-size - 0.06, z=-0.04), 0.15, 0.2, 0.07)
    eye = sphere(at(mirrored(face, 0), x=size * 0.62, y=-size * 0.66, z=0.12), 0.07)
    return [Part(blend(blend(body, tail, 0.15), head, 0.12)), Part(beak, CARROT), Part(eye, COAL)]


def _robot(p: Tensor, u: Tensor) -> list[Part]:
    half = vary(u, 0, 0.3, 0.37)
    head_half = vary(u, 1, 0.22, 0.28)
    body = box(at(p, z=-0.14), half, 0.22, 0.34, rounding=0.04)
    head = box(at(p, z=0.5), head_half, 0.2, 0.2, rounding=0.04)
    neck = cylinder(at(p, z=0.25), 0.08, 0.1)
    arm = box(at(mirrored(p, 0), x=half + 0.12, z=-0.1), 0.075, 0.09, vary(u, 2, 0.26, 0.34))
    leg = box(at(mirrored(p, 0), x=half * 0.55, z=-0.68), 0.1, 0.13, 0.22)
    eye = sphere(at(mirrored(p, 0), x=head_half * 0.5, y=-0.2, z=0.54), 0.08)
    chest = box(at(p, y=-0.22, z=-0.08), half * 0.55, 0.02, 0.13)
    return [
        Part(union(body, head)),
        Part(union(neck, arm, leg), IRON),
        Part(union(eye, chest), LIGHT),
    ]


def _boat(p: Tensor, u: Tensor) -> list[Part]:
    width, length = vary(u, 0, 0.32, 0.42), vary(u, 1, 0.72, 0.84)
    deck = at(p, z=-0.3)
    hull = torch.maximum(ellipsoid(deck, width, length, vary(u, 2, 0.38, 0.48)), deck[..., 2])
    mast = cylinder(at(p, z=0.24), 0.05, 0.6)
    # A triangular sail in the plane of the keel, behind the mast.
    sail_half = vary(u, 3, 0.42, 0.52)
    sail_at = at(p, y=0.06, z=0.34)
    slanted = (sail_at[..., 1] * 0.9 + sail_at[..., 2] * 0.55) - 0.26
    sail = torch.maximum(torch.maximum(box(sail_at, 0.04, 1.0, sail_half), slanted / 1.055), -sail_at[..., 1])
    return [Part(hull), Part(mast, WOOD), Part(sail, IVORY)]


SHAPES: tuple[Shape, ...] = (
    Shape("sphere", _sphere, patterns=True),
    Shape("cube", _cube, patterns=True),
    Shape("cone", _cone, patterns=True),
    Shape("cylinder", _cylinder, patterns=True),
    Shape("donut", _donut, patterns=True),
    Shape("mug", _mug, patterns=True),
    Shape("bowl", _bowl, patterns=True),
    Shape("table", _table),
    Shape("chair", _chair, has_front=True),
    Shape("lamp", _lamp, patterns=True),
    Shape("mushroom", _mushroom, patterns=True, natural=("red", "brown")),
    Shape("snowman", _snowman, natural=("white",), has_front=True),
    Shape("tree", _tree, natural=("green",)),
    Shape("rocket", _rocket, has_front=True),
    Shape("house", _house, natural=("red", "brown"), has_front=True),
    Shape("car", _car, has_front=True),
    Shape("hat", _hat, patterns=True),
    Shape("hammer", _hammer, natural=("gray", "black")),
    Shape("dumbbell", _dumbbell),
    Shape("duck", _duck, natural=("yellow",), has_front=True),
    Shape("robot", _robot, has_front=True),
    Shape("boat", _boat, has_front=True),
)
