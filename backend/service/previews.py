"""What an artist sees of an object while it grows: a small picture and a coarse mesh, at little cost.

Letters: G grid samples per axis, V vertices, F triangles.
"""

import io
import math

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from backend.engine.cameras import framing
from backend.engine.fields import BOUND, Field
from backend.engine.occupancy import Occupancy
from backend.engine.rendering import render
from backend.engine.shading import over
from backend.mesh import surface
from backend.mesh.clean import decimated
from backend.mesh.pictures import BACKGROUND
from shared import coarse
from shared.limits import COARSE_BYTES, PREVIEW_BYTES

SHARE = 0.05
"""Of the time of an optimisation that previews may take."""

LEAST_SECONDS = 1.0
"""Between two previews."""

PIXELS = 176
_AZIMUTH, _ELEVATION, _FOV, _MARGIN = math.radians(30), math.radians(20), math.radians(40), 1.08
_SPACING = 0.05
_CELLS, _THRESHOLD = 32, 0.2  # of the occupancy grid
_GRID = 40
_FACES = 6_000
"""A closed mesh of so many triangles fits COARSE_BYTES, unless it is in very many pieces."""


def picture(field: Field, device: torch.device) -> bytes:
    """A PNG of the field from the front, a little from its left and above; at most PREVIEW_BYTES."""
    camera = framing(*(torch.tensor([value]) for value in (_AZIMUTH, _ELEVATION, _FOV, _MARGIN))).to(device)
    with torch.no_grad():
        occupancy = Occupancy.of(field, _CELLS, _THRESHOLD, device)
        seen = render(field, camera, PIXELS, occupancy, _SPACING)
        shown = over(seen.colour, seen.opacity, torch.tensor([BACKGROUND], device=device))[0]
    pixels = (shown.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    image = Image.fromarray(pixels)
    while len(encoded := _png(image)) > PREVIEW_BYTES:  # noise does not compress
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4))
    return encoded


def coarse_mesh(field: Field, device: torch.device) -> bytes:
    """The field's surface, as `shared.coarse` packs it; b"" where there is none yet."""
    density = _density(field, device)
    level = _level(density)
    if level is None:
        return b""
    mesh = decimated(surface.extract(density.numpy(), level), _FACES)
    if len(mesh.triangles) == 0 or coarse.size_of(len(mesh.vertices), len(mesh.triangles)) > COARSE_BYTES:
        return b""
    with torch.no_grad():
        colours = field.colour(torch.from_numpy(mesh.vertices).to(device))
    shades = (colours.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return coarse.pack(mesh.vertices.data, mesh.triangles.astype("uint32").data, shades.data)


def _png(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    return encoded.getvalue()


def _density(field: Field, device: torch.device) -> Float[Tensor, "G G G"]:
    """Density over [-1, 1]^3, on the CPU; zero from the unit sphere outwards, where nothing is rendered."""
    axis = torch.linspace(-BOUND, BOUND, _GRID, device=device)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).flatten(0, 2)
    with torch.no_grad():
        density = field.density(points) * (points.square().sum(-1) < 1)
    return density.float().reshape(_GRID, _GRID, _GRID).cpu()


def _level(density: Float[Tensor, "G G G"]) -> float | None:
    """What `surface.find_level` looks for, along the grid's own lines; None where nothing is half opaque."""
    cell = 2 * BOUND / (_GRID - 1)
    highest = torch.cat([density.amax(axis).flatten() for axis in range(3)])
    thickness = torch.cat([density.sum(axis).flatten() * cell for axis in range(3)])
    met = highest > 0
    seen = thickness[met] >= math.log(2)
    if not density.isfinite().all() or not seen.any():
        return None
    levels, agreement = surface.silhouette_agreement(highest[met], seen)
    return levels[agreement.argmax()].item()
