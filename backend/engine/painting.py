"""Colours on the surface of a mesh that stays as it is: one point of it for each ray.

Letters: B views, n places that are seen, c = 3 colour channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from backend.checkpoints import flat, under
from backend.engine.cameras import Cameras
from backend.engine.hashgrid import HEADS_RATE, HashEncoding, HashGridConfig, encoded, head
from backend.engine.normals import Surface
from backend.engine.rendering import Rendering, Samples
from backend.engine.settings import Regularisation
from backend.engine.shots import Shots
from backend.engine.surface_terms import patches

FINE = HashGridConfig(levels=8, log2_table=17, finest=512, hidden=32)
"""Cells of 4 mm: a texel of a 1024-texture."""

_NOTHING = Regularisation()

_ASKED = 4
"""Of so many places one is compared with what is beside it: each costs two more looks at the paint."""

_LEAST = 0.02
"""Colours before the run are kept so far from 0 and 1 that they can still change."""


@dataclass(frozen=True)
class Places:
    """Places on the surface. normals: unit vectors, as it is shaded. before: display colours that they have already.

    free: where they may get others.
    """

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    before: Float[Tensor, "n 3"]
    free: Bool[Tensor, " n"]


@dataclass(frozen=True)
class Sight:
    """What is seen through the pixels of B views. ray: which of all rays meets each place; distance: after how far."""

    ray: Int[Tensor, " n"]
    distance: Float[Tensor, " n"]
    places: Places


@runtime_checkable
class Canvas(Protocol):
    """A mesh to be painted."""

    def sight(self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]) -> Sight:
        """The first place that each of the rays meets, if any, in the order of the rays and on their device."""
        ...


class Paint(nn.Module):
    """What is painted over the colours from before, as a fine field in space: nothing at first.

    Made on the generator's device. The levels shown follow from the progress alone: refine, then load.
    """

    def __init__(self, generator: torch.Generator, config: HashGridConfig = FINE) -> None:
        super().__init__()
        self.config = config
        self.shown = config.shown(0.0)
        self.encoding = HashEncoding(config, generator)
        self.head = head(config.width, config.hidden, 3, generator)

    def refine(self, progress: float) -> None:
        """Show the detail due at `progress` in [0, 1] of the run."""
        self.shown = self.config.shown(progress)

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        """See `TrainableField`."""
        yield list(self.encoding.parameters()), 1.0
        yield list(self.head.parameters()), HEADS_RATE

    def over(self, before: Float[Tensor, "n 3"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Display colours at points whose colour was `before`."""
        painted = self.head(encoded(self.encoding, points, self.shown, self.config.width))
        return torch.sigmoid(torch.logit(before, eps=_LEAST) + painted)

    def over_grey(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """What is painted at points, whatever colours they had: as it looks over a middle grey."""
        return self.over(torch.full_like(points, 0.5), points)

    def on(self, places: Places) -> Float[Tensor, "n 3"]:
        """Display colours of places: from before, where they are not free."""
        return torch.where(places.free[:, None], self.over(places.before, places.points), places.before)


class Painting:
    """The `Scene` of a mesh that is painted. What it shows is opaque. asked: of its terms, `patches`."""

    def __init__(self, paint: Paint, canvas: Canvas, asked: Regularisation = _NOTHING) -> None:
        self._paint, self._canvas, self._asked = paint, canvas, asked

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        return self._paint.parameter_groups()

    def prepare(self, step: int, progress: float) -> None:
        self._paint.refine(progress)

    def render(
        self, cameras: Cameras, size: int, progress: float, offsets: Float[Tensor, "B P"] | None = None
    ) -> Rendering:
        return self._rendered(cameras, size)[0]

    def look(self, shots: Shots, progress: float, normals: bool) -> tuple[Rendering, Surface | None]:
        rendering, places = self._rendered(shots.cameras, shots.size)
        index = torch.arange(len(places.points), device=places.points.device)
        return rendering, Surface(index, places.normals) if normals else None

    def _rendered(self, cameras: Cameras, size: int) -> tuple[Rendering, Places]:
        origins, directions = cameras.rays(size, size)
        views = len(origins)
        count = views * size * size
        directions = directions.reshape(-1, 3)
        sight = self._canvas.sight(origins.repeat_interleave(size * size, dim=0), directions)
        weights = torch.ones_like(sight.distance)
        values = torch.cat([self._paint.on(sight.places), weights[:, None], sight.distance[:, None]], dim=-1)
        pixels = values.new_zeros(count, 5).index_copy(0, sight.ray, values)
        image = pixels.reshape(views, size, size, -1).permute(0, 3, 1, 2)
        samples = Samples(sight.ray, sight.distance, sight.places.points)
        return Rendering(image[:, :3], image[:, 3], image[:, 4], samples, weights, directions), sight.places

    def terms(self, progress: float, draws: torch.Generator) -> dict[str, Tensor]:
        return {}

    def surface_terms(
        self, rendering: Rendering, seen: Surface, progress: float, aside: Float[Tensor, "R 3"]
    ) -> dict[str, Tensor]:
        """Evenness of what is painted; the shape stays as it is."""
        weight = self._asked.patches.at(progress)
        if not weight:
            return {}
        some = Surface(seen.index[::_ASKED], seen.normals[::_ASKED])
        return {"patches": _ASKED * weight * patches(self._paint.over_grey, some, rendering, aside)}

    def state(self) -> dict[str, Tensor]:
        return flat({"paint": self._paint.state_dict()})

    def restore(self, state: dict[str, Tensor], progress: float) -> None:
        self._paint.refine(progress)
        self._paint.load_state_dict(under("paint", state))
