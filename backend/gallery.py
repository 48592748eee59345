"""What the built-in model's objects are worth: one prompt per object, made, judged and measured.

The judge, a classifier that took no part in guidance, looks at renders of the exported mesh.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import framing
from backend.engine.shading import Lights, over
from backend.generate import MESH, generate
from backend.job import planned
from backend.mesh import raycast
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.fidelity import f_score
from backend.mesh.glb import read_glb
from backend.mesh.pictures import lit
from backend.prior.judge import Judge, judging_views
from backend.prior.materials import COLOURS
from backend.prior.meshes import exact_mesh
from backend.prior.shapes import SHAPES, VARIATIONS
from backend.request import Request

AMBIENT = 0.5
BACKGROUND = 0.6
GREY = 0.6
_PIXELS = 64
SHEET_PIXELS = 128

F_THRESHOLD = 0.05
"""Metres that a point may be off the true surface; objects are about 1.6 across."""
_VARIATIONS = 6
_QUARTER_TURNS = 4
_REFERENCE_RESOLUTION = 64


@dataclass(frozen=True)
class Marks:
    """One object, judged. right_caption: the object and colour asked for score highest of all captions.

    right_object, right_grey: the object does, textured and grey. f_score: the best against procedural
    variations of the object in quarter turns.
    """

    prompt: str
    right_caption: bool
    right_object: bool
    right_grey: bool
    f_score: float
    psnr: float
    silhouette_iou: float
    faces: int
    components: int
    degenerate: int
    watertight: bool
    seconds: float


def marks_for(request: Request, judge: Judge, out: Path) -> Marks:
    """Generate what `request` asks for into `out`, and judge the mesh in the file."""
    job, _ = planned(request)
    report = generate(job, out, resume=False)
    asset, _ = read_glb(out / MESH)
    subject = judge.vocabulary.knows(request.prompt).subject
    shape, colour = judge.vocabulary.objects.index(subject.shape), subject.colour
    textured, grey = pictures(asset)
    seen, felt = judge(textured).together(), judge(grey).together()
    captions = seen.captions[0].flatten().argmax().item()
    asked = shape * len(COLOURS) + (judge.vocabulary.colours.index(colour) if colour else 0)
    return Marks(
        prompt=request.prompt,
        right_caption=captions == asked,
        right_object=seen.objects[0].argmax().item() == shape,
        right_grey=felt.objects[0].argmax().item() == shape,
        f_score=best_f_score(asset.mesh, subject.shape),
        psnr=report.psnr,
        silhouette_iou=report.silhouette_iou,
        faces=report.faces,
        components=report.components,
        degenerate=report.degenerate,
        watertight=report.watertight,
        seconds=sum(report.seconds.values()),
    )


def shown(mesh: Path) -> Float[Tensor, "2 3 H W"]:
    """Two views of a written mesh for the sheet, in soft light: from the front, and from above and aside."""
    cameras = framing(
        azimuth=torch.tensor([0.0, math.radians(35)]),
        elevation=torch.tensor([math.radians(8), math.radians(35)]),
        fov=torch.full((2,), math.radians(40)),
        margin=torch.full((2,), 1.05),
    )
    return lit(read_glb(mesh)[0], cameras, SHEET_PIXELS)


def pictures(asset: Asset) -> tuple[Float[Tensor, "8 3 H W"], Float[Tensor, "8 3 H W"]]:
    """The judging views of a mesh, lit from the camera: textured, and in plain grey."""
    cameras = judging_views()
    count = len(cameras.azimuth)
    lights = Lights(cameras.backward, torch.full((count,), AMBIENT))
    background = torch.full((count, 3), BACKGROUND)
    textured = raycast.render(asset, cameras, _PIXELS, lights)
    grey = raycast.render(asset, cameras, _PIXELS, lights, plain=torch.full((count, 3), GREY))
    first, second = (over(view.colour, view.opacity, background) for view in (textured, grey))
    return first, second


def best_f_score(mesh: TriangleMesh, shape_name: str) -> float:
    """The F-score against the best of a few procedural variations, each in four turns around z."""
    shape = next(shape for shape in SHAPES if shape.name == shape_name)
    generator = torch.Generator().manual_seed(0)
    scores = []
    for variation in torch.rand(_VARIATIONS, VARIATIONS, generator=generator):
        exact = exact_mesh(shape, variation, _REFERENCE_RESOLUTION)
        triangles = exact.triangles.numpy().astype(np.int32)
        for quarter in range(_QUARTER_TURNS):
            reference = TriangleMesh(turned(exact.vertices.numpy(), quarter), triangles)
            scores.append(f_score(mesh, reference, F_THRESHOLD, generator))
    return max(scores)


def turned(points: Float[np.ndarray, "V 3"], quarter: int) -> Float[np.ndarray, "V 3"]:
    """Points after `quarter` quarter turns around z."""
    angle = quarter * math.pi / 2
    c, s = round(math.cos(angle)), round(math.sin(angle))
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=points.dtype)


def table(all_marks: Sequence[Marks]) -> str:
    """The marks as a Markdown table of means, with the worst of what has a bar."""

    def share(name: str) -> str:
        return f"{100 * np.mean([getattr(marks, name) for marks in all_marks]):.0f} %"

    def numbers(name: str, digits: int) -> str:
        values = [getattr(marks, name) for marks in all_marks]
        return f"{np.mean(values):.{digits}f} (lowest {min(values):.{digits}f})"

    rows = [
        ("prompts", str(len(all_marks))),
        ("right object and colour, of all captions (R-precision)", share("right_caption")),
        ("right object", share("right_object")),
        ("right object from grey, untextured renders", share("right_grey")),
        ("foreground PSNR against the field, dB", numbers("psnr", 1)),
        ("silhouette IoU against the field", numbers("silhouette_iou", 3)),
        (f"F-score against the exact shapes, {F_THRESHOLD} m", numbers("f_score", 2)),
        ("watertight", share("watertight")),
        ("most components", str(max(marks.components for marks in all_marks))),
        ("degenerate faces", str(sum(marks.degenerate for marks in all_marks))),
        ("seconds an object, warm", f"{np.mean([marks.seconds for marks in all_marks]):.0f}"),
    ]
    return "\n".join(["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def save(all_marks: Sequence[Marks], path: Path) -> None:
    """Write the marks as JSON."""
    path.write_text(json.dumps([asdict(marks) for marks in all_marks], indent=2) + "\n")
