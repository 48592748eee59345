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
from backend.evaluation.measures import F_LOOSE, F_THRESHOLD, of_mesh
from backend.mesh.glb import read_glb
from backend.mesh.pictures import lit
from backend.pipeline.generate import generate
from backend.pipeline.job import planned
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.prior.judge import Judge

SHEET_PIXELS = 128


@dataclass(frozen=True)
class Marks:
    """One object, judged. right_caption: of all captions the one asked for scores highest, see `measures.judged`.

    right_object, right_grey: the object does, textured and grey. f_score, f_score_loose: within 0.05 and
    0.1 m, see `measures.best_f_scores`.
    """

    prompt: str
    right_caption: bool
    right_object: bool
    right_grey: bool
    f_score: float
    f_score_loose: float
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
    found = of_mesh(asset, judge, subject)
    return Marks(
        prompt=request.prompt,
        right_caption=found["r_precision"] == 1,
        right_object=found["object"] == 1,
        right_grey=found["grey"] == 1,
        f_score=found["f_score"],
        f_score_loose=found["f_score_loose"],
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


def table(all_marks: Sequence[Marks]) -> str:
    """The marks as a Markdown table of means, with the worst of what has a bar."""

    def share(name: str) -> str:
        return f"{100 * np.mean([getattr(marks, name) for marks in all_marks]):.0f} %"

    def numbers(name: str, digits: int) -> str:
        values = [getattr(marks, name) for marks in all_marks]
        return f"{np.mean(values):.{digits}f} (lowest {min(values):.{digits}f})"

    rows = [
        ("prompts", str(len(all_marks))),
        ("right object, colour and pattern, of all captions (R-precision)", share("right_caption")),
        ("right object", share("right_object")),
        ("right object from grey, untextured renders", share("right_grey")),
        ("foreground PSNR against the field, dB", numbers("psnr", 1)),
        ("silhouette IoU against the field", numbers("silhouette_iou", 3)),
        (f"F-score against the exact shapes, {F_THRESHOLD} m", numbers("f_score", 2)),
        (f"F-score against the exact shapes, {F_LOOSE} m", numbers("f_score_loose", 2)),
        ("watertight", share("watertight")),
        ("most components", str(max(marks.components for marks in all_marks))),
        ("degenerate faces", str(sum(marks.degenerate for marks in all_marks))),
        ("seconds an object, warm", f"{np.mean([marks.seconds for marks in all_marks]):.0f}"),
    ]
    return "\n".join(["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def save(all_marks: Sequence[Marks], path: Path) -> None:
    """Write the marks as JSON."""
    path.write_text(json.dumps([asdict(marks) for marks in all_marks], indent=2) + "\n", "utf-8")
