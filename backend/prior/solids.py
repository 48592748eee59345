"""The solids of `shapes` as objects to learn from: pure shapes, and patterns that a catalogue rarely has.

Letters: F triangles.
"""

import zlib

import torch
from jaxtyping import Float
from torch import Tensor

from backend.prior.catalogue import SOLIDS, Entry
from backend.prior.materials import COLOURS, PATTERNS, contrast
from backend.prior.meshes import exact_mesh
from backend.prior.objects import Surface, to_linear
from backend.prior.shapes import SHAPES, VARIATIONS, Shape
from backend.prior.synonyms import by_the_first

_RESOLUTION = 96

OBJECT_WORDS = by_the_first(
    ("sphere", "ball", "orb"),
    ("cube", "box", "block"),
    ("cone",),
    ("cylinder", "tube"),
    ("donut", "doughnut", "torus", "ring"),
    ("mug", "cup"),
    ("bowl", "dish"),
    ("table", "desk"),
    ("chair", "seat"),
    ("lamp",),
    ("mushroom", "toadstool"),
    ("snowman",),
    ("tree", "pine", "fir"),
    ("rocket", "spaceship"),
    ("house", "cottage", "hut"),
    ("car", "automobile"),
    ("hat",),
    ("hammer", "mallet"),
    ("dumbbell", "barbell"),
    ("duck",),
    ("robot",),
    ("boat", "sailboat", "ship"),
)
"""For each object of `shapes.SHAPES`, in its order: its name, which is the usual word, and all words for it."""


def entries(plain: int, patterned: int) -> tuple[Entry, ...]:
    """`plain` variations of each solid, and `patterned` more for each pattern on those that take one."""
    return tuple(
        Entry(
            file=f"{shape.name}-{pattern or 'plain'}-{number}",
            noun=shape.name,
            synonyms=OBJECT_WORDS[shape.name][1:],
            has_front=shape.has_front,
            pattern=pattern,
            group=SOLIDS,
        )
        for shape in SHAPES
        for pattern in (None, *(PATTERNS if shape.patterns else ()))
        for number in range(patterned if pattern else plain)
    )


def surface(entry: Entry) -> Surface:
    """The solid that `entries` names: its proportions and colour follow from its name."""
    generator = torch.Generator().manual_seed(zlib.crc32(entry.file.encode()))
    (shape,) = (shape for shape in SHAPES if shape.name == entry.noun)
    variation = torch.rand(VARIATIONS, generator=generator)
    colours = shape.natural or tuple(COLOURS)
    main = torch.tensor(COLOURS[colours[int(torch.randint(len(colours), (), generator=generator))]])
    made = exact_mesh(shape, variation, _RESOLUTION)
    middles = torch.from_numpy(made.vertices[made.triangles].mean(1))
    shades = _shades(shape, entry.pattern, middles, variation, main)
    count = len(shades)
    return Surface(
        mesh=made,
        colours=to_linear(shades)[:, None].expand(-1, 3, -1),
        uvs=torch.zeros(count, 3, 2),
        texture=torch.full((count,), -1),
        textures=(),
    )


def _shades(
    shape: Shape,
    pattern: str | None,
    middles: Float[Tensor, "F 3"],
    variation: Float[Tensor, " v"],
    main: Float[Tensor, " 3"],
) -> Float[Tensor, "F 3"]:
    """The display colour of each triangle."""
    parts = shape.parts(middles, variation.expand(len(middles), -1))
    nearest = torch.stack([part.distance for part in parts]).argmin(0)
    shades = torch.stack([main if part.colour is None else torch.tensor(part.colour) for part in parts])[nearest]
    if pattern is None:
        return shades
    named = torch.tensor([part.colour is None for part in parts])[nearest]
    second = (named & PATTERNS[pattern](middles))[:, None]
    return torch.where(second, contrast(main[None]), shades)
