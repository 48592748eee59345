"""Training pictures with captions, without end.

Tracing a picture costs more than colouring it, so a pool of traced layers is kept as bytes and every
batch draws new colours, backgrounds and captions for pictures out of it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from backend.engine.cameras import CameraDistribution, Cameras, view_name
from backend.engine.names import View
from backend.engine.shading import BackgroundDistribution, LightDistribution
from backend.prior.captions import Subject, caption
from backend.prior.materials import COLOURS, PATTERNS, contrast
from backend.prior.render import Layers, trace
from backend.prior.shapes import SHAPES, VARIATIONS, Shape

_PATTERNED = 0.6
"""The share among objects that take patterns. Taught by a quarter, the model drew spots and checks as blotches."""
_COLOUR_NAMED = 0.93
_VIEW_NAMED = 0.6
_UNKNOWN_WORD = 0.06
_COLOUR_JITTER = 0.035


@dataclass(frozen=True)
class World:
    """The distributions that pictures are drawn from."""

    cameras: CameraDistribution = field(default_factory=CameraDistribution)
    lights: LightDistribution = field(default_factory=LightDistribution)
    backgrounds: BackgroundDistribution = field(default_factory=BackgroundDistribution)


@dataclass(frozen=True)
class Pool:
    """P traced pictures: layers as bytes, and what each shows.

    shape indexes `shapes`, pattern PATTERNS (0: plain, otherwise 1 + index); angles in radians.
    """

    shapes: tuple[Shape, ...]
    layers: UInt8[Tensor, "P 7 H W"]
    shape: Int[Tensor, " P"]
    pattern: Int[Tensor, " P"]
    azimuth: Float[Tensor, " P"]
    elevation: Float[Tensor, " P"]

    def pictures(self, index: Int[Tensor, " B"]) -> Layers:
        """The layers of the pictures at `index`."""
        return Layers(self.layers[index].float() / 255)

    def view(self, index: int) -> View:
        """The word for where a picture was taken from."""
        return view_name(self.azimuth[index].item(), self.elevation[index].item())


def trace_pool(
    count: int,
    size: int,
    world: World,
    generator: torch.Generator,
    shapes: tuple[Shape, ...] = SHAPES,
    chunk: int = 32,
    progress: Callable[[int], object] = lambda done: None,
) -> Pool:
    """Trace `count` pictures, `chunk` of one object at a time; `progress` hears of every chunk's size."""
    chunks = []
    for start in range(0, count, chunk):
        index = (start // chunk) % len(shapes)
        batch = min(chunk, count - start)
        chunks.append(_trace_chunk(index, shapes[index], batch, size, world, generator))
        progress(batch)
    columns = [torch.cat(column) for column in zip(*chunks, strict=True)]
    return Pool(shapes, *columns)


def _trace_chunk(
    index: int, shape: Shape, batch: int, size: int, world: World, generator: torch.Generator
) -> tuple[Tensor, ...]:
    device = generator.device
    cameras: Cameras = world.cameras.sample(batch, generator)
    lights = world.lights.sample(cameras.backward, generator)
    variation = torch.rand(batch, VARIATIONS, generator=generator, device=device)
    pattern = torch.randint(1, 1 + len(PATTERNS), (batch,), generator=generator, device=device)
    plain = torch.rand(batch, generator=generator, device=device) >= _PATTERNED
    pattern = torch.where(plain, 0, pattern) if shape.patterns else torch.zeros_like(pattern)
    layers = trace(shape, variation, pattern, cameras, lights, size)
    stored = (layers.stack * 255).round().to(torch.uint8)
    return stored, torch.full_like(pattern, index), pattern, cameras.azimuth, cameras.elevation


@dataclass(frozen=True)
class Batch:
    """Images in [0, 1] with a caption each; shape indexes the pool's shapes, colour COLOURS."""

    images: Float[Tensor, "B 3 H W"]
    captions: list[str]
    shape: Int[Tensor, " B"]
    colour: Int[Tensor, " B"]


def draw(pool: Pool, count: int, world: World, generator: torch.Generator) -> Batch:
    """`count` pictures out of `pool`, newly coloured and captioned."""
    device = generator.device
    index = torch.randint(len(pool.shape), (count,), generator=generator, device=device)
    words = random.Random(int(torch.randint(2**62, (1,), generator=generator, device=device)))
    told = [_tell(pool, i, words) for i in index.tolist()]
    colour = torch.tensor([colour for _, colour in told], device=device)
    images = paint(pool.pictures(index), colour, world, generator)
    return Batch(images, [text for text, _ in told], pool.shape[index], colour)


def paint(
    layers: Layers, colour: Int[Tensor, " B"], world: World, generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Pictures in the colours (indices into COLOURS), each a shade of its own, on backgrounds of `world`."""
    device = generator.device
    palette = torch.tensor(list(COLOURS.values()), device=device)[colour]
    jitter = _COLOUR_JITTER * torch.randn(palette.shape, generator=generator, device=device)
    shade = (palette + jitter).clamp(0, 1)
    background = world.backgrounds.sample(len(colour), generator)
    return layers.coloured(shade, contrast(palette), background)


def _tell(pool: Pool, index: int, words: random.Random) -> tuple[str, int]:
    """A caption for a picture, and the index of the colour that it gets."""
    shape, pattern = pool.shapes[int(pool.shape[index])], int(pool.pattern[index])
    named = words.random() < _COLOUR_NAMED
    colours = list(COLOURS)
    colour = words.choice(colours if named or not shape.natural else shape.natural)
    subject = Subject(shape.name, colour if named else None, list(PATTERNS)[pattern - 1] if pattern else None)
    view = pool.view(index) if words.random() < _VIEW_NAMED else None
    return _with_unknown(caption(subject, view, words), words), colours.index(colour)


def _with_unknown(text: str, words: random.Random) -> str:
    """Now and then put in a word outside the vocabulary, so that the model learns to pass over such words."""
    if words.random() >= _UNKNOWN_WORD:
        return text
    parts = text.split(" ")
    parts.insert(words.randrange(len(parts)), "[UNK]")
    return " ".join(parts)
