"""What a run takes pictures of: a field that is marched through, or the surface of a mesh that is painted.

Letters: B views, P pixels of a view, c colour channels.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.checkpoints import flat, under
from backend.engine import regularisers
from backend.engine.cameras import Cameras
from backend.engine.fields import DistanceField, TrainableField
from backend.engine.fitting import Target, shape_error
from backend.engine.normals import Surface, surface
from backend.engine.occupancy import Densities, Occupancy
from backend.engine.reference import Portrait
from backend.engine.rendering import Rendering, render, stratified
from backend.engine.settings import Settings
from backend.engine.shots import Shots
from backend.engine.surface_terms import bending, facing_away, patches

_MATTER = 5.0
"""Per metre: what is denser, and a little room around it, is where a picture has a say."""


@runtime_checkable
class Scene(Protocol):
    """As the loop sees it. progress: in [0, 1] of the run."""

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        """All that is optimised; see `TrainableField`."""
        ...

    def prepare(self, step: int, progress: float) -> None:
        """Be ready for `step`, which comes after the one before it."""
        ...

    def render(
        self, cameras: Cameras, size: int, progress: float, offsets: Float[Tensor, "B P"] | None = None
    ) -> Rendering:
        """Plain views of size x size pixels; see `rendering.render`. Differentiable."""
        ...

    def look(self, shots: Shots, progress: float, normals: bool) -> tuple[Rendering, Surface | None]:
        """The views of a step, and, where they are asked for, the normals of what they show."""
        ...

    def terms(self, progress: float, draws: torch.Generator) -> dict[str, Tensor]:
        """Weighted regularisers of the whole, which no view has a part in."""
        ...

    def surface_terms(
        self, rendering: Rendering, seen: Surface, progress: float, aside: Float[Tensor, "R 3"]
    ) -> dict[str, Tensor]:
        """Weighted regularisers of what is seen of a surface. aside: normal draws, one for each ray."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All tensors that pictures depend on, as they are; no copies."""
        ...

    def restore(self, state: dict[str, Tensor], progress: float) -> None:
        """Be as the scene was that had `state` after its step at `progress`."""
        ...


class Volume:
    """The `Scene` of a field, marched through where occupancy cells say that something is.

    pixels: a side of the pictures that the model is shown. solid: what the field started as, near which it is held, the
    less the more strength there is. portrait: a picture that it is to look like.
    """

    densities: Densities
    occupancy: Occupancy

    def __init__(
        self,
        field: TrainableField,
        settings: Settings,
        device: torch.device,
        pixels: int,
        solid: Target | None = None,
        portrait: Portrait | None = None,
    ) -> None:
        self._field, self._settings, self._device, self._pixels = field, settings, device, pixels
        self._solid, self._portrait = solid, portrait

    def parameter_groups(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        return self._field.parameter_groups()

    def prepare(self, step: int, progress: float) -> None:
        self._field.refine(progress)
        looks, beside = divmod(step, self._settings.occupancy_every)
        if beside:
            return
        if looks:
            self.densities = self.densities.after(self._field, looks)
        else:
            self.densities = Densities.of(self._field, self._settings.occupancy_resolution, self._device)
        self.occupancy = self.densities.occupancy(self._settings.occupancy_threshold)

    def render(
        self, cameras: Cameras, size: int, progress: float, offsets: Float[Tensor, "B P"] | None = None
    ) -> Rendering:
        return render(self._field, cameras, size, self.occupancy, self._settings.spacing_at(progress), offsets)

    def look(self, shots: Shots, progress: float, normals: bool) -> tuple[Rendering, Surface | None]:
        rendering = self.render(shots.cameras, shots.size, progress, shots.offsets)
        return rendering, surface(self._field, rendering) if normals else None

    def terms(self, progress: float, draws: torch.Generator) -> dict[str, Tensor]:
        found = {}
        weight = self._settings.regularisation.eikonal.at(progress)
        if weight and isinstance(self._field, DistanceField):
            found["eikonal"] = weight * regularisers.eikonal(self._field.slopes(draws))
        if self._solid is not None:
            asked = self._settings.likeness
            hold = asked.solid * (1 / self._settings.strength - 1)
            found["solid"] = hold * shape_error(self._field, self._solid.some(draws), asked.inside)
        growth = self._settings.likeness.growth.at(progress)
        if growth and self._portrait is not None:
            found |= {name: growth * term for name, term in self._likeness(self._portrait, progress, draws).items()}
        return found

    def _likeness(self, portrait: Portrait, progress: float, draws: torch.Generator) -> dict[str, Tensor]:
        """How far the field is from looking like the picture, by as many pixels as the model is shown.

        Where nothing is near, nothing is asked for: it would come as pieces that hang anywhere before the object.
        """
        asked = self._settings.likeness
        size = max(asked.pixels, self._settings.detail.pixels(self._pixels, progress))
        near, spacing = self.densities.occupancy(_MATTER), self._settings.spacing_at(progress)
        seen = render(self._field, portrait.camera, size, near, spacing, stratified(1, size, draws))
        share = (self._pixels / size) ** 2
        weights = {"silhouette": asked.silhouette, "colour": asked.colour}
        return {name: share * weights[name] * term for name, term in portrait.terms(seen).items()}

    def surface_terms(
        self, rendering: Rendering, seen: Surface, progress: float, aside: Float[Tensor, "R 3"]
    ) -> dict[str, Tensor]:
        asked, found = self._settings.regularisation, {}
        if weight := asked.orientation.at(progress):
            found["orientation"] = weight * facing_away(seen, rendering)
        if weight := asked.bending.at(progress):
            found["bending"] = weight * bending(self._field, seen, rendering, aside)
        if weight := asked.patches.at(progress):
            found["patches"] = weight * patches(self._field.colour, seen, rendering, aside)
        return found

    def state(self) -> dict[str, Tensor]:
        portrait = {} if self._portrait is None else self._portrait.state()
        groups = flat({"field": self._field.state_dict(), "portrait": portrait})
        return {**groups, "densities": self.densities.highest}

    def restore(self, state: dict[str, Tensor], progress: float) -> None:
        self._field.refine(progress)
        self._field.load_state_dict(under("field", state))
        if self._portrait is not None:
            self._portrait.restore(under("portrait", state))
        self.densities = Densities(state["densities"])
        self.occupancy = self.densities.occupancy(self._settings.occupancy_threshold)
