"""Training pictures with captions, without end: lit, coloured and described anew for every batch.

Letters: B images, P pictures of a pool, E entries.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.shading import BackgroundDistribution, LightDistribution, Lights
from backend.guidance.views import Views
from backend.prior.colours import MainColour, near, oklab, repainted
from backend.prior.layers import Layers
from backend.prior.materials import COLOURS
from backend.prior.pool import RIG, Pool
from backend.prior.synonyms import COLOUR_WORDS
from backend.prior.wording import sentence

_PAINTED = 0.45
"""The share of objects that are painted in a colour that the caption names."""
_UNLIT = 0.5
_UNKNOWN_WORD = 0.05
_COLOUR_JITTER = 0.015
_SMALLEST_SHARE = 0.25
"""An object less of which has one colour is not painted: it would not be of the colour named."""
_CONTRAST = 0.3
"""Oklab distance that a colour keeps from the other one of a pattern."""
_LOOKED_AT = 4_000
_FRONT = 3.0
"""How much more often things with a front are drawn: on which side that is takes longest to learn."""


@dataclass(frozen=True)
class World:
    """The distributions that pictures are drawn from, besides cameras."""

    lights: LightDistribution = field(default_factory=LightDistribution)
    backgrounds: BackgroundDistribution = field(default_factory=BackgroundDistribution)


@dataclass(frozen=True)
class Batch:
    """Images in [0, 1], a caption and a view for each; `rig` consecutive ones show one object."""

    images: Float[Tensor, "B 3 H W"]
    captions: list[str]
    views: Views
    rig: int
    entry: Int[Tensor, " B"]


@dataclass(frozen=True)
class Plan:
    """All that is drawn by lot for a batch, before any pixel of it: units of `rig` pictures of one object each.

    index: pictures in the pool. entry, captions: of each unit. painted: which units are, from Oklab `main` to `wanted`.
    """

    rig: int
    index: Int[Tensor, " B"]
    entry: Int[Tensor, " u"]
    captions: list[str]
    painted: Int[Tensor, " p"]
    main: Float[Tensor, "p 3"]
    wanted: Float[Tensor, "p 3"]
    lights: Lights
    backgrounds: Float[Tensor, "B 3"]


class Paints:
    """Which colours each entry of a pool can be painted in. main: (E, 3) Oklab, the colour that is painted over."""

    def __init__(self, pool: Pool) -> None:
        found = [self._of(pool, index) for index in range(len(pool.entries))]
        self.main = torch.stack([main for main, _ in found])
        self.names = [names for _, names in found]

    @cached_property
    def palette(self) -> dict[str, Tensor]:
        """The named colours in Oklab."""
        return {name: oklab(torch.tensor(colour)) for name, colour in COLOURS.items()}

    def _of(self, pool: Pool, index: int) -> tuple[Tensor, tuple[str, ...]]:
        layers = pool.pictures((pool.entry == index).nonzero()[:, 0][: RIG * 2])
        seen = albedo(layers)[layers.coverage > 0.9]
        if not len(seen):  # thin things are nowhere all of a pixel
            return torch.zeros(3), ()
        lab = oklab(seen[:: max(1, len(seen) // _LOOKED_AT)])
        main = MainColour.of(lab)
        if main.share < _SMALLEST_SHARE:
            return main.lab, ()
        names = tuple(COLOUR_WORDS)
        rest = lab[near(lab, main.lab) == 0]
        if pool.entries[index].pattern and len(rest):
            other = MainColour.of(rest).lab
            names = tuple(name for name in names if (self.palette[name] - other).norm() > _CONTRAST)
        return main.lab, names


def albedo(layers: Layers) -> Float[Tensor, "B H W 3"]:
    """Display colours where something is; what a pixel that is only partly covered would have, all covered."""
    return (layers.albedo / layers.coverage.clamp(min=1 / 255)[:, None]).clamp(max=1).permute(0, 2, 3, 1)


class Source:
    """Draws batches from a pool."""

    def __init__(self, pool: Pool, world: World, generator: torch.Generator, paints: Paints | None = None) -> None:
        """paints: of the pool, if they are known."""
        self._pool, self._world, self._generator = pool, world, generator
        self._paints = paints or Paints(pool)
        nouns = Counter(entry.noun for entry in pool.entries)
        # Between all objects alike and all nouns alike: a chair has many looks, but "chair" is one word.
        shares = [nouns[entry.noun] ** -0.5 * (_FRONT if entry.has_front else 1.0) for entry in pool.entries]
        self._weights = torch.tensor(shares)
        counts = pool.entry.bincount()
        self._first, self._rigs = counts.cumsum(0) - counts, counts // RIG

    def draw(self, count: int, rig: int, small: bool) -> Batch:
        """`count` pictures, `rig` (1 or RIG) of an object each time. small: at half their size."""
        return self.pictured(self.plan(count, rig), small)

    def plan(self, count: int, rig: int) -> Plan:
        """What `draw` would draw: no pixel is touched, so that it can be made beside a training."""
        units = count // rig
        entry = torch.multinomial(self._weights, units, replacement=True, generator=self._generator)
        index = self._first[entry] + RIG * self._below(self._rigs[entry])
        within = torch.arange(RIG) if rig == RIG else self._below(torch.full((units, 1), RIG))
        index = (index[:, None] + within).flatten()
        words = random.Random(int(self._below(torch.tensor(2**62))))
        colours = [self._colour(i, words) for i in entry.tolist()]
        told = [
            _with_unknown(sentence(self._pool.entries[i], colour, words), words)
            for i, colour in zip(entry.tolist(), colours, strict=True)
        ]
        painted = torch.tensor([unit for unit, colour in enumerate(colours) if colour], dtype=torch.long)
        wanted = [self._paints.palette[colour] for colour in colours if colour]
        jitter = _COLOUR_JITTER * torch.randn(len(wanted), 3, generator=self._generator)
        return Plan(
            rig=rig,
            index=index,
            entry=entry,
            captions=told,
            painted=painted,
            main=self._paints.main[entry[painted]],
            wanted=torch.stack(wanted) + jitter if wanted else jitter,
            lights=self.lights(len(index)),
            backgrounds=self._world.backgrounds.sample(len(index), self._generator),
        )

    def pictured(self, plan: Plan, small: bool) -> Batch:
        """The batch of a plan, its images on the pool's device. small: at half their size."""
        layers = self._pool.pictures(plan.index)
        layers = _painted(layers.smaller() if small else layers, plan)
        device = layers.albedo.device
        return Batch(
            images=layers.lit(plan.lights.to(device), plan.backgrounds.to(device)),
            captions=[text for text in plan.captions for _ in range(plan.rig)],
            views=Views(Cameras(*(column[plan.index] for column in self._pool.cameras.columns)), plan.lights),
            rig=plan.rig,
            entry=self._pool.entry[plan.index],
        )

    def lights(self, count: int) -> Lights:
        """Lights in the cameras' frames; some are all ambient: the picture shows plain colours."""
        toward = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, -1)
        lights = self._world.lights.sample(toward, self._generator)
        unlit = torch.rand(count, generator=self._generator) < _UNLIT
        return replace(lights, ambient=torch.where(unlit, 1.0, lights.ambient))

    def _below(self, bound: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Whole numbers from 0 up to each bound, which is left out."""
        drawn = torch.rand(bound.shape, generator=self._generator, dtype=torch.float64) * bound
        return drawn.long().minimum(bound - 1)

    def _colour(self, entry: int, words: random.Random) -> str | None:
        names = self._paints.names[entry]
        return words.choice(names) if names and words.random() < _PAINTED else None


def _painted(layers: Layers, plan: Plan) -> Layers:
    if not len(plan.painted):
        return layers
    device = layers.albedo.device
    where = (plan.rig * plan.painted[:, None] + torch.arange(plan.rig)).flatten().to(device)
    main, wanted = (lab.repeat_interleave(plan.rig, dim=0).to(device) for lab in (plan.main, plan.wanted))
    part = Layers(layers.albedo[where], layers.coverage[where], layers.normals[where])
    new = repainted(albedo(part), main, wanted)
    colour = layers.albedo.clone()
    colour[where] = new.permute(0, 3, 1, 2) * part.coverage[:, None]
    return replace(layers, albedo=colour)


def _with_unknown(text: str, words: random.Random) -> str:
    """Now and then put in a word outside the vocabulary, so that the model learns to pass over such words."""
    if words.random() >= _UNKNOWN_WORD:
        return text
    parts = text.split(" ")
    parts.insert(words.randrange(len(parts)), "[UNK]")
    return " ".join(parts)
