"""Colours of a field that renders latents: fitted to what the model's own decoder makes of its views."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import ring
from backend.engine.fields import Field
from backend.engine.occupancy import Occupancy
from backend.engine.rendering import render

_VIEWS = 8
_ELEVATION = 20.0
_SPACING = 0.02


@runtime_checkable
class Decoder(Protocol):
    """Guidance that can show what it diffuses; see `guidance.diffusion`."""

    @property
    def channels(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def decode(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]: ...


@dataclass(frozen=True)
class LinearlyDecodedField:
    """A field of c latent channels shown in display colours: latent @ matrix + offset, cut to [0, 1]."""

    latent: Field
    matrix: Float[Tensor, "c 3"]
    offset: Float[Tensor, " 3"]

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return self.latent.density(x)

    def colour(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return self._decoded(self.latent.colour(x))

    def density_and_colour(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        density, latent = self.latent.density_and_colour(x)
        return density, self._decoded(latent)

    def _decoded(self, latent: Float[Tensor, "n c"]) -> Float[Tensor, "n 3"]:
        return (latent @ self.matrix + self.offset).clamp(0, 1)


def displayed(field: Field, guidance: Decoder) -> Field:
    """`field` itself if it renders display colours, or decoded by the linear map that fits this very object best.

    Stable Diffusion's latents are nearly linear in the colours of the patch they stand for; a map fitted to
    the object's own views, decoded by the VAE, errs less than one for all pictures.
    """
    if guidance.channels == 3:
        return field
    cameras = ring(_VIEWS, _ELEVATION).to(guidance.device)
    occupancy = Occupancy.of(field, 64, 0.1, guidance.device)
    latents, opacities, patches = [], [], []
    with torch.no_grad():
        for view in range(_VIEWS):  # one at a time: a decoder at work takes a gigabyte for each
            seen = render(field, cameras.part(slice(view, view + 1)), guidance.size, occupancy, _SPACING)
            latents.append(seen.colour)
            opacities.append(seen.opacity)
            patches.append(torch.nn.functional.adaptive_avg_pool2d(guidance.decode(seen.colour), guidance.size))
    shown = torch.cat(opacities) > 0.5
    if not shown.any():  # the mesh stage will say that there is no object
        shown = torch.ones_like(shown)
    # On the CPU, where least squares of a few thousand rows takes no time and every device can do without it.
    given, wanted = (torch.cat(each).permute(0, 2, 3, 1)[shown].cpu() for each in (latents, patches))
    with_one = torch.cat([given, torch.ones_like(given[:, :1])], dim=-1)
    fitted = torch.linalg.lstsq(with_one, wanted).solution.to(guidance.device)
    return LinearlyDecodedField(field, fitted[:-1], fitted[-1])
