"""How good an object is, in numbers: what an independent judge sees in it, its colour, and how near its shape is to a
true one.

The same measures serve fields, written meshes and single pictures. Letters: V views, H x W pixels.
"""

import base64
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backend.engine.fields import Field
from backend.engine.normals import normal_image, surface
from backend.engine.occupancy import Occupancy
from backend.engine.rendering import render
from backend.engine.shading import Lights, over
from backend.errors import UserError
from backend.evaluation.detail import fine_detail, sharpness
from backend.evaluation.references import References
from backend.mesh import raycast
from backend.mesh import surface as extraction
from backend.mesh.asset import Asset, TriangleMesh
from backend.prior import layers, measured_colour, objects
from backend.prior.judge import EIGHTH, FEW, Judge, judging_views, ranks
from backend.prior.lexicon import Understanding

AMBIENT = 0.5
BACKGROUND = 0.6
GREY = 0.6
_PIXELS = 64
_SPACING = 0.03

F_SCORES = ("f_score", "f_score_loose")
OF_MESHES = ("r_precision", "few", "confidence", "grey", "facing", "colour", "sharpness", *F_SCORES, "clip")
"""The measures of exported meshes. Some lack some of the last six, see `of_object`."""

_FRONT, _BACK = 0, 4
"""Sectors of the judge."""

_HALF_COVERED = 0.5
NOTHING_SEEN = 100.0
"""CIEDE2000 from a colour to that of an object which is not there: as far as from black to white."""

_RESOLUTION = 64
_CELLS = 24


@dataclass(frozen=True)
class Pictures:
    """The judging views of an object against a plain background: as it is, in plain grey, and where it is at all.

    unlit: its display colours, as far as `covered` goes.
    """

    textured: Float[Tensor, "V 3 H W"]
    grey: Float[Tensor, "V 3 H W"]
    unlit: Float[Tensor, "V 3 H W"]
    covered: Bool[Tensor, "V H W"]


@torch.no_grad()
def judged(net: Judge, textured: Float[Tensor, "V 3 H W"], asked: Understanding) -> dict[str, float]:
    """Judge pictures of one object, which belong together: measures by name, each from 0 to 1.

    r_precision: whether of all nouns a right one scores highest, all pictures together; see `Lexicon.right`. few:
    whether one is among the first FEW. view_precision: the share of pictures of which the first is true. confidence:
    the probability that the judge gives to all right nouns together, in the mean.
    """
    nouns, right = net(textured).nouns, _right(net, asked)
    together = ranks(nouns.mean(0, keepdim=True), right)
    return {
        "r_precision": (together < 1).float().item(),
        "few": (together < FEW).float().item(),
        "view_precision": (ranks(nouns, right.expand(len(nouns), -1)) < 1).float().mean().item(),
        "confidence": nouns[:, right[0]].exp().sum(-1).mean().item(),
    }


@torch.no_grad()
def features(net: Judge, textured: Float[Tensor, "V 3 H W"]) -> Float[Tensor, " f"]:
    """How the judge sees pictures of one object, all together; unit length."""
    return torch.nn.functional.normalize(net.features(textured).mean(0), dim=0)


def _right(net: Judge, asked: Understanding) -> Bool[Tensor, "1 N"]:
    right = torch.zeros(1, len(net.lexicon.nouns), dtype=torch.bool)
    right[0, [net.lexicon.numbers[noun] for noun in net.lexicon.right(asked.name)]] = True
    return right


def has_front(net: Judge, asked: Understanding) -> bool:
    """Whether all objects that were taught by the name asked for have a front."""
    number = net.lexicon.numbers.get(asked.name)
    return number is not None and net.lexicon.nouns[number].has_front


@torch.no_grad()
def facing(net: Judge, textured: Float[Tensor, "8 3 H W"]) -> float:
    """1 if the object in the judging views is turned away by less than 45 degrees from where it should face, else 0."""
    return float(net(textured).together().azimuth.abs().item() < EIGHTH)


@torch.no_grad()
def janus(net: Judge, textured: Float[Tensor, "V 3 H W"]) -> float:
    """1 if the object shows its front on both sides, else 0: for objects that have one, in a ring of V views.

    Of the view that looks most like a front the opposite one is asked: front or back?
    """
    sectors = net(textured).sectors
    opposite = sectors[(sectors[:, _FRONT].argmax() + len(sectors) // 2) % len(sectors)]
    return float(opposite[_FRONT] > opposite[_BACK])


def colour_apart(pictures: Pictures, word: str) -> float:
    """CIEDE2000 from the main colour to the one that `word` names, in the mean over views that show anything."""
    apart = [
        measured_colour.difference(measured_colour.shown(image, where), word)
        for image, where in zip(pictures.unlit, pictures.covered, strict=True)
        if where.any()
    ]
    return sum(apart) / len(apart) if apart else NOTHING_SEEN


def of_object(
    net: Judge, pictures: Pictures, mesh: TriangleMesh | None, asked: Understanding, references: References | None
) -> dict[str, float]:
    """All measures of an object, by name. mesh: None if it has no surface.

    Of an object without a front nothing is said of that, nor of the colour where none was asked for, nor of the shape
    without a true one.
    """
    found = judged(net, pictures.textured, asked)
    found["grey"] = judged(net, pictures.grey, asked)["r_precision"]
    if has_front(net, asked):
        found |= {"facing": facing(net, pictures.textured), "janus": janus(net, pictures.textured)}
    if asked.colour:
        found["colour"] = colour_apart(pictures, asked.colour)
    if references and (scores := references.f_scores(mesh, asked.name)):
        found |= zip(F_SCORES, scores, strict=True)
    return found


def field_pictures(field: Field, device: torch.device) -> Pictures:
    """The judging views of a field that renders display colours; the grey ones in light from the camera."""
    cameras = judging_views().to(device)
    with torch.no_grad():
        seen = render(field, cameras, _PIXELS, Occupancy.of(field, 64, 0.1, device), _SPACING)
        normals = normal_image(seen, surface(field, seen))
    count = len(seen.opacity)
    brightness = Lights(cameras.backward, torch.full((count,), AMBIENT, device=device)).shade(normals)
    grey = (GREY * seen.opacity * brightness)[:, None].expand(-1, 3, -1, -1)
    colour, grey, opacity = (layer.cpu() for layer in (seen.colour, grey, seen.opacity))
    return _pictured(colour, grey, colour, opacity)


def mesh_pictures(asset: Asset) -> Pictures:
    """The judging views of a mesh, lit from the camera."""
    cameras = judging_views()
    count = len(cameras.azimuth)
    lights = Lights(cameras.backward, torch.full((count,), AMBIENT))
    lit = raycast.render(asset, cameras, _PIXELS, lights)
    grey = raycast.render(asset, cameras, _PIXELS, lights, plain=torch.full((count, 3), GREY))
    return _pictured(lit.colour, grey.colour, raycast.render(asset, cameras, _PIXELS).colour, lit.opacity)


@cache  # runs of a prompt want the same
def _true_detail(file: Path) -> float:
    """The fine detail of a true object, seen as `mesh_pictures` sees others."""
    cameras = judging_views()
    count = len(cameras.azimuth)
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0]]).expand(count, -1), torch.full((count,), AMBIENT))
    seen = layers.cast(objects.read(file), cameras, _PIXELS)
    return fine_detail(seen.lit(lights, torch.full((count, 3), BACKGROUND)))


def nothing_pictured() -> Pictures:
    """The judging views where no object is."""
    count = len(judging_views().azimuth)
    none = torch.zeros(count, 3, _PIXELS, _PIXELS)
    return _pictured(none, none, none, none[:, 0])


def _pictured(
    lit: Float[Tensor, "V 3 H W"],
    grey: Float[Tensor, "V 3 H W"],
    unlit: Float[Tensor, "V 3 H W"],
    opacity: Float[Tensor, "V H W"],
) -> Pictures:
    """Pictures out of layers that are premultiplied by `opacity`."""
    background = torch.full((len(opacity), 3), BACKGROUND)
    whole = (unlit / opacity.clamp(min=_HALF_COVERED)[:, None]).clamp(0, 1)
    return Pictures(over(lit, opacity, background), over(grey, opacity, background), whole, opacity > _HALF_COVERED)


@dataclass(frozen=True)
class Solid:
    """The shape of a field. cells: _CELLS along x, y and z of [-1, 1]^3, true where it reaches."""

    mesh: TriangleMesh
    cells: Bool[np.ndarray, "G G G"]


def solid(field: Field, device: torch.device) -> Solid | None:
    """The surface of a field where its renders show one, or None: there is nothing but fog or void."""
    try:
        level = extraction.find_level(field, device)
        density = extraction.sample_density(field, _RESOLUTION, level, device)
        mesh = extraction.extract(density, level)
    except UserError:
        return None
    highest = torch.nn.functional.adaptive_max_pool3d(torch.from_numpy(density)[None], _CELLS)[0]
    return Solid(mesh, (highest >= level).numpy())


def of_mesh(
    net: Judge, pictures: Pictures, mesh: TriangleMesh, asked: Understanding, references: References | None
) -> dict[str, float]:
    """What an exported mesh scores in each of OF_MESHES that it has. pictures: of the mesh, see `mesh_pictures`."""
    found = of_object(net, pictures, mesh, asked, references)
    if references and (true := [_true_detail(file) for file in references.alike(asked.name)]):
        found["sharpness"] = sharpness(fine_detail(pictures.textured), sum(true) / len(true))
    return {name: found[name] for name in OF_MESHES if name in found}


def packed(cells: Bool[np.ndarray, "G G G"]) -> str:
    """Cells as text, for a row."""
    return base64.b64encode(zlib.compress(np.packbits(cells).tobytes())).decode()


def unpacked(text: str) -> Bool[np.ndarray, "G G G"]:
    """What `packed` was given."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8))
    return bits[: _CELLS**3].reshape(_CELLS, _CELLS, _CELLS).astype(bool)
