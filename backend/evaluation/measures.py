"""How good an object is, in numbers: what an independent judge sees in it, and how near its shape is to a true one.

The same measures serve fields, written meshes and single pictures. Letters: V views, H x W pixels.
"""

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

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
from backend.mesh import raycast
from backend.mesh import surface as extraction
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.fidelity import f_scores, on_surface
from backend.prior.captions import Subject
from backend.prior.judge import Judge, Verdict, judging_views
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS, Shape

AMBIENT = 0.5
BACKGROUND = 0.6
GREY = 0.6
_PIXELS = 64
_SPACING = 0.03

F_THRESHOLD, F_LOOSE = 0.05, 0.1
"""Metres that a point may be off the true surface; objects are about 1.6 across.

A pixel of the built-in model covers some 0.07. So the first asks for more than that model can see, for smooth shapes
true to proportion, and the second whether parts are missing or too many.
"""
F_SCORES = ("f_score", "f_score_loose")
OF_MESHES = ("r_precision", "confidence", "object", "grey", *F_SCORES)
"""The measures of exported meshes."""

REFERENCES, COMPARED = 256, 24
"""Procedural variations of an object that a mesh is screened against, and of them the most alike, which it is compared
with. Of ten meshes the best of 24 are within 0.01 of the best of all 256, in the mean; of 6 within 0.02.
"""
_QUARTER_TURNS, _SCREENED, _POINTS = 4, 256, 6_000
_RESOLUTION = 64
_CELLS = 24


@dataclass(frozen=True)
class Judged:
    """measures: by name, each from 0 to 1. features: how the judge sees it, unit length."""

    measures: Mapping[str, float]
    features: Float[Tensor, " f"]


@torch.no_grad()
def judged(net: Judge, textured: Float[Tensor, "V 3 H W"], asked: Subject) -> Judged:
    """Judge pictures of one object, which belong together.

    r_precision: whether of all captions the one asked for (object, colour and pattern) scores highest, all
    pictures together. view_precision: the share of pictures of which that is true. object: whether the object is
    right. confidence: the probability that the judge gives to the caption asked for, in the mean.
    """
    verdict = net(textured)
    alone, together = _right(net, verdict, asked), _right(net, verdict.together(len(textured)), asked)
    measures = {
        "r_precision": together.all(0).float().mean().item(),
        "view_precision": alone.all(0).float().mean().item(),
        "object": together[0].float().mean().item(),
        "confidence": _answers(net, verdict, asked).exp().mean().item(),
    }
    return Judged(measures, torch.nn.functional.normalize(net.features(textured).mean(0), dim=0))


def _right(net: Judge, verdict: Verdict, asked: Subject) -> Bool[Tensor, "q B"]:
    """Whether the answers to all questions that `asked` answers are right, the object's first."""
    return torch.stack([scores.argmax(-1) == answer for scores, answer in _questions(net, verdict, asked)])


def _answers(net: Judge, verdict: Verdict, asked: Subject) -> Float[Tensor, " B"]:
    """The log-probability of all right answers together."""
    return torch.stack([scores[:, answer] for scores, answer in _questions(net, verdict, asked)]).sum(0)


def _questions(net: Judge, verdict: Verdict, asked: Subject) -> list[tuple[Float[Tensor, "B n"], int]]:
    """Log-probabilities of the possible answers, and the right one. A colour that nobody asked for is no question."""
    known = net.vocabulary
    pattern = 1 + known.patterns.index(asked.pattern) if asked.pattern else 0
    questions = [(verdict.objects, known.objects.index(asked.shape)), (verdict.patterns, pattern)]
    if asked.colour:
        questions.append((verdict.colours, known.colours.index(asked.colour)))
    return questions


@torch.no_grad()
def right_grey(net: Judge, grey: Float[Tensor, "V 3 H W"], asked: Subject) -> float:
    """1 if the judge names the object from its untextured pictures together, else 0."""
    named = net(grey).together(len(grey)).objects.argmax().item()
    return float(named == net.vocabulary.objects.index(asked.shape))


@torch.no_grad()
def janus(net: Judge, textured: Float[Tensor, "V 3 H W"]) -> float:
    """1 if the object shows its front on both sides, else 0: for objects that have one, in a ring of V views.

    Of the view that looks most like a front the opposite one is asked: front or back?
    """
    views = net(textured).views  # log-probabilities in the order of names.VIEWS: front, side, back, above
    opposite = views[(views[:, 0].argmax() + len(views) // 2) % len(views)]
    return float(opposite[0] > opposite[2])


def field_pictures(field: Field, device: torch.device) -> tuple[Float[Tensor, "8 3 H W"], Float[Tensor, "8 3 H W"]]:
    """The judging views of a field that renders display colours: as it is, and grey in light from the camera."""
    cameras = judging_views().to(device)
    with torch.no_grad():
        seen = render(field, cameras, _PIXELS, Occupancy.of(field, 64, 0.1, device), _SPACING)
        normals = normal_image(seen, surface(field, seen))
    count = len(seen.opacity)
    brightness = Lights(cameras.backward, torch.full((count,), AMBIENT, device=device)).shade(normals)
    grey = (GREY * seen.opacity * brightness)[:, None].expand(-1, 3, -1, -1)
    background = torch.full((count, 3), BACKGROUND, device=device)
    return over(seen.colour, seen.opacity, background).cpu(), over(grey, seen.opacity, background).cpu()


def mesh_pictures(asset: Asset) -> tuple[Float[Tensor, "8 3 H W"], Float[Tensor, "8 3 H W"]]:
    """The judging views of a mesh, lit from the camera: textured, and in plain grey."""
    cameras = judging_views()
    count = len(cameras.azimuth)
    lights = Lights(cameras.backward, torch.full((count,), AMBIENT))
    background = torch.full((count, 3), BACKGROUND)
    textured = raycast.render(asset, cameras, _PIXELS, lights)
    grey = raycast.render(asset, cameras, _PIXELS, lights, plain=torch.full((count, 3), GREY))
    first, second = (over(view.colour, view.opacity, background) for view in (textured, grey))
    return first, second


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


@torch.no_grad()
def of_mesh(asset: Asset, net: Judge, asked: Subject) -> dict[str, float]:
    """What an exported mesh scores in each of OF_MESHES."""
    textured, grey = mesh_pictures(asset)
    scores = dict(zip(F_SCORES, best_f_scores(asset.mesh, asked.shape), strict=True))
    found = {**judged(net, textured, asked).measures, "grey": right_grey(net, grey, asked), **scores}
    return {name: found[name] for name in OF_MESHES}


def best_f_scores(mesh: TriangleMesh, shape_name: str) -> tuple[float, float]:
    """The F-scores within F_THRESHOLD and F_LOOSE, each against the variation and turn around z that match best.

    A right object of any size and proportion scores 1, up to what is lost by drawing the variations at random.
    See `fidelity.f_scores`.
    """
    shape = next(shape for shape in SHAPES if shape.name == shape_name)
    generator = torch.Generator().manual_seed(0)
    scores = [
        f_scores(mesh, _turned(_reference(shape, index), quarter), (F_THRESHOLD, F_LOOSE), generator, _POINTS)
        for index, quarter in _alike(shape, mesh, generator)
    ]
    close, loose = (max(of_each) for of_each in zip(*scores, strict=True))
    return close, loose


def _alike(shape: Shape, mesh: TriangleMesh, generator: torch.Generator) -> list[tuple[int, int]]:
    """Of many variations the few whose surfaces the mesh's points lie nearest to, each with its best quarter turn."""
    variations = _variations()[:, None].expand(-1, _SCREENED, -1)
    points = on_surface(mesh, _SCREENED, generator)
    nearness = []
    for quarter in range(_QUARTER_TURNS):
        back = torch.from_numpy(turned(points, -quarter)).expand(REFERENCES, -1, -1)
        # Soft, unlike the F-score: of variations that all miss by more than the threshold the nearest is wanted.
        nearness.append(torch.exp(-(shape.distance(back, variations) / F_THRESHOLD).abs()).mean(1))
    nearest, turn = torch.stack(nearness, dim=1).max(dim=1)
    return [(index, int(turn[index])) for index in nearest.topk(COMPARED).indices.tolist()]


def _variations() -> Float[Tensor, "n v"]:
    return torch.rand(REFERENCES, VARIATIONS, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=REFERENCES)  # to make one takes longer than to compare with it, and runs of a prompt want the same
def _reference(shape: Shape, index: int) -> TriangleMesh:
    exact = exact_mesh(shape, _variations()[index], _RESOLUTION)
    return TriangleMesh(exact.vertices.numpy(), exact.triangles.numpy().astype(np.int32))


def _turned(mesh: TriangleMesh, quarter: int) -> TriangleMesh:
    return TriangleMesh(turned(mesh.vertices, quarter), mesh.triangles)


def turned(points: Float[np.ndarray, "V 3"], quarter: int) -> Float[np.ndarray, "V 3"]:
    """Points after `quarter` quarter turns around z."""
    angle = quarter * math.pi / 2
    c, s = round(math.cos(angle)), round(math.sin(angle))
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=points.dtype)


def packed(cells: Bool[np.ndarray, "G G G"]) -> str:
    """Cells as text, for a row."""
    return base64.b64encode(zlib.compress(np.packbits(cells).tobytes())).decode()


def unpacked(text: str) -> Bool[np.ndarray, "G G G"]:
    """What `packed` was given."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8))
    return bits[: _CELLS**3].reshape(_CELLS, _CELLS, _CELLS).astype(bool)
