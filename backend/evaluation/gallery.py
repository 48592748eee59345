"""What the built-in model's objects are worth: made, judged and measured.

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
from backend.errors import UserError
from backend.evaluation.measures import mesh_pictures, of_mesh
from backend.evaluation.references import F_LOOSE, F_THRESHOLD, References
from backend.files import write_whole
from backend.mesh.asset import Asset
from backend.mesh.glb import read_glb
from backend.mesh.pictures import lit
from backend.pipeline.generate import generate
from backend.pipeline.job import planned
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.prior.judge import FEW, Judge

SHEET_PIXELS = 128


@dataclass(frozen=True)
class Marks:
    """One object, judged. first, few: of all nouns a right one scores highest, or is among the first few; see
    `measures.judged`. grey: the first of these, untextured.

    facing: None of an object without a front. colour: CIEDE2000, None where none was asked for. f_score, f_score_loose:
    within 0.05 and 0.1 m, None without a true shape; see `References.f_scores`.
    """

    prompt: str
    first: bool
    few: bool
    grey: bool
    facing: bool | None
    colour: float | None
    f_score: float | None
    f_score_loose: float | None
    psnr: float
    silhouette_iou: float
    faces: int
    components: int
    degenerate: int
    watertight: bool
    seconds: float


def marks_for(request: Request, judge: Judge, references: References | None, out: Path) -> Marks:
    """Generate what `request` asks for into `out`, and judge the mesh in the file."""
    job, _ = planned(request)
    report = generate(job, out, resume=False)
    asset, _ = read_glb(out / MESH)
    asked = judge.lexicon.knows(request.prompt)
    found = of_mesh(judge, mesh_pictures(asset), asset.mesh, asked, references)
    return Marks(
        prompt=request.prompt,
        first=found["r_precision"] == 1,
        few=found["few"] == 1,
        grey=found["grey"] == 1,
        facing=found["facing"] == 1 if "facing" in found else None,
        colour=found.get("colour"),
        f_score=found.get("f_score"),
        f_score_loose=found.get("f_score_loose"),
        psnr=report.psnr,
        silhouette_iou=report.silhouette_iou,
        faces=report.faces,
        components=report.components,
        degenerate=report.degenerate,
        watertight=report.watertight,
        seconds=sum(report.seconds.values()),
    )


def shown(asset: Asset) -> Float[Tensor, "2 3 H W"]:
    """Two views of an object for a sheet, in soft light: from the front, and from above and aside."""
    cameras = framing(
        azimuth=torch.tensor([0.0, math.radians(35)]),
        elevation=torch.tensor([math.radians(8), math.radians(35)]),
        fov=torch.full((2,), math.radians(40)),
        margin=torch.full((2,), 1.05),
    )
    return lit(asset, cameras, SHEET_PIXELS)


def table(all_marks: Sequence[Marks]) -> str:
    """The marks as a Markdown table of means over what has them, with the worst of what has a bar."""

    def of_all(name: str) -> list[float]:
        return [value for marks in all_marks if (value := getattr(marks, name)) is not None]

    def share(name: str) -> str:
        values = of_all(name)
        return f"{100 * np.mean(values):.0f} %" if values else "-"

    def numbers(name: str, digits: int, less_is_better: bool = False) -> str:
        values = of_all(name)
        if not values:
            return "-"
        worst = f"highest {max(values):.{digits}f}" if less_is_better else f"lowest {min(values):.{digits}f}"
        return f"{np.mean(values):.{digits}f} ({worst})"

    rows = [
        ("prompts", str(len(all_marks))),
        ("right object first of all objects (R-precision)", share("first")),
        (f"right object among the first {FEW}", share("few")),
        ("right object first from grey, untextured renders", share("grey")),
        ("facing right, of objects with a front", share("facing")),
        ("CIEDE2000 from the colour asked for", numbers("colour", 1, less_is_better=True)),
        ("foreground PSNR against the field, dB", numbers("psnr", 1)),
        ("silhouette IoU against the field", numbers("silhouette_iou", 3)),
        (f"F-score against true shapes, {F_THRESHOLD} m", numbers("f_score", 2)),
        (f"F-score against true shapes, {F_LOOSE} m", numbers("f_score_loose", 2)),
        ("watertight", share("watertight")),
        ("most components", str(max(marks.components for marks in all_marks))),
        ("degenerate faces", str(sum(marks.degenerate for marks in all_marks))),
        ("seconds an object, warm", f"{np.mean([marks.seconds for marks in all_marks]):.0f}"),
    ]
    return "\n".join(["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def kept(path: Path) -> list[Marks]:
    """What `save` wrote; nothing if there is no file. Raises UserError if it is of another version."""
    if not path.exists():
        return []
    try:
        return [Marks(**fields) for fields in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no marks of this version; leave out --resume") from error


def save(all_marks: Sequence[Marks], path: Path) -> None:
    """Write the marks as JSON."""
    write_whole(path, (json.dumps([asdict(marks) for marks in all_marks], indent=2) + "\n").encode())
