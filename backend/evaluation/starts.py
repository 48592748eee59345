"""Runs that begin from something made of a true object, see `beginnings`, and what the report says of them.

Letters: V views, H x W pixels.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from backend.errors import UserError
from backend.evaluation import measures, statistics
from backend.evaluation.beginnings import begun, boxes
from backend.evaluation.claims import LABELS
from backend.evaluation.measures import NOTHING_SEEN, Pictures
from backend.evaluation.references import F_THRESHOLD, References
from backend.evaluation.rows import Row
from backend.evaluation.runs import BEGINNINGS, Beginning, Run
from backend.evaluation.tables import brackets, table
from backend.guidance.diffusion import DiffusionGuidance
from backend.mesh import raycast
from backend.mesh.asset import Asset, TriangleMesh
from backend.mesh.fidelity import f_scores
from backend.mesh.placement import Placement
from backend.pipeline.asking import asked as asked_of
from backend.pipeline.generate import stages_of
from backend.pipeline.given import as_asset, read
from backend.pipeline.job import Job, planned
from backend.pipeline.picture import reference
from backend.pipeline.request import Request
from backend.pipeline.stages import Desk, Work, needed
from backend.pipeline.start import Start
from backend.prior.judge import Judge, judging_views
from backend.prior.lexicon import Understanding

_TEXELS, _PIXELS = 512, 128

_TOLD: Mapping[str, str] = {
    "r_precision": LABELS["r_precision"],
    "few": LABELS["few"],
    "grey": LABELS["grey"],
    "true_r_precision": "R-precision of the object itself",
    "apart": "CIEDE2000 from its colours",
    "plain_apart": "CIEDE2000 of one mean colour from them",
    "box_iou": "silhouette IoU with the boxes",
    "front_iou": "silhouette IoU from the front",
    "front_psnr": "PSNR from the front, dB",
    "own_f_score": "F-score against the object",
}
"""What the report tells of each way to begin, in this order."""


@dataclass(frozen=True)
class Truth:
    """An object, inside the unit sphere and with its colours, and what it is described as."""

    asset: Asset
    phrases: tuple[str, ...]

    @classmethod
    def of(cls, references: References, noun: str) -> "Truth":
        """The first object that is called `noun`. Raises UserError if there is none."""
        entry = references.called(noun)
        given = read(references.folder / entry.file)
        asset, _ = as_asset(given, _TEXELS)
        return cls(given.placement.inwards(asset), entry.phrases)


def measured(
    run: Run, name: str, device: str, guidance: DiffusionGuidance, net: Judge, references: References
) -> tuple[Row, Float[Tensor, "V 3 H W"]]:
    """Carry out a run, measure its result and show it. name, device: of the model, as a request has them."""
    beginning, asked = cast(Beginning, run.variant), net.lexicon.knows(run.prompt)
    truth = Truth.of(references, asked.name)
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        job, _ = planned(
            Request(
                _described(truth, asked, net) if beginning == "paint" else run.prompt,
                guidance=name,
                device=device,
                seed=run.seed,
                steps=run.steps,
                schedule=run.schedule,
                start=begun(beginning, truth.asset, Path(folder)),
                paint_only=beginning == "paint",
                sketch=beginning == "sketch",
            )
        )
        clock, failure = time.monotonic(), ""
        try:
            made = _made(job, guidance, Path(folder))
        except UserError as error:  # nothing came of it
            made, failure = _plain(_NOWHERE), str(error)
        seconds = round(time.monotonic() - clock, 3)
        kept_to = _like_its_picture(job.start, made) if job.start and job.start.kind == "picture" else {}
    pictures = measures.mesh_pictures(made)
    found, features = measures.of_object(net, pictures, made.mesh, asked, references=None)
    found |= {"own_f_score": _f_score(made, truth.asset)} | kept_to
    if beginning == "paint":
        found |= _like_its_colours(pictures, measures.mesh_pictures(truth.asset), net, asked)
    if beginning in ("nothing", "blockout"):
        found["box_iou"] = _like_its_boxes(made if job.start else _in_sphere(made), truth)
    return Row(run, found, seconds, tuple(features.tolist()), "", failure), pictures.textured


_NOWHERE = TriangleMesh(
    np.array([[9, 0, 0], [9, 1, 0], [9, 0, 1]], np.float32), np.arange(3, dtype=np.int32).reshape(1, 3)
)
"""What no camera sees."""


def _described(truth: Truth, asked: Understanding, net: Judge) -> str:
    """The object's own description, where that is understood as the same kind of thing; or its kind."""
    for phrase in truth.phrases:
        try:
            if net.lexicon.knows(phrase).name == asked.name:
                return phrase
        except UserError:
            continue
    return asked.name


def _made(job: Job, guidance: DiffusionGuidance, folder: Path) -> Asset:
    """What comes of a job, inside the unit sphere."""
    desk, work = Desk(job.recipe(), folder, {}, lambda status: None), Work()
    for stage in stages_of(job, guidance, asked_of(job, guidance)):
        work = stage.carry_out(work, desk)
    asset = needed(work.asset)
    return work.placement.inwards(asset) if work.placement else asset


def _plain(mesh: TriangleMesh) -> Asset:
    """A mesh in black."""
    uvs = np.zeros((len(mesh.triangles), 3, 2), np.float32)
    return Asset(mesh, uvs, np.zeros((1, 1, 3), np.uint8), raycast.corner_normals(mesh))


def _in_sphere(asset: Asset) -> Asset:
    """As large as the unit sphere."""
    return Placement.of(asset.mesh.vertices).inwards(asset)


def _f_score(made: Asset, true: Asset) -> float:
    """Of one object against another, both as large as the unit sphere: no picture says how large a thing is."""
    meshes = _in_sphere(made).mesh, _in_sphere(true).mesh
    (score,) = f_scores(*meshes, (F_THRESHOLD,), torch.Generator().manual_seed(0))
    return score


def _like_its_colours(made: Pictures, true: Pictures, net: Judge, asked: Understanding) -> dict[str, float]:
    """How far the colours are from the true ones, and those from their mean, over all pixels; and what the object
    itself is taken for.
    """
    seen = made.covered & true.covered
    ours, theirs = (of.unlit.permute(0, 2, 3, 1)[seen].numpy() for of in (made, true))
    mean = np.broadcast_to(theirs.mean(0), theirs.shape)
    found = {"true_r_precision": measures.judged(net, true.textured, asked).measures["r_precision"]}
    for name, colours in (("apart", ours), ("plain_apart", mean)):
        found[name] = float(deltaE_ciede2000(rgb2lab(colours), rgb2lab(theirs)).mean()) if len(ours) else NOTHING_SEEN
    return found


def _like_its_boxes(made: Asset, truth: Truth) -> float:
    stand_in = _in_sphere(_plain(boxes(truth.asset.mesh)))
    first, second = (raycast.render(each, judging_views(), _PIXELS).opacity for each in (made, stand_in))
    return _iou(first, second)


def _like_its_picture(start: Start, made: Asset) -> dict[str, float]:
    """How like the picture, or the sketch, the object is from where that is seen."""
    wanted = reference(start)
    seen = raycast.render(made, wanted.camera, _PIXELS)
    opacity = wanted.shown(_PIXELS)[None]
    found = {"front_iou": _iou(seen.opacity, opacity)}
    if wanted.colour is not None:
        colour = torch.nn.functional.interpolate(
            wanted.colour[None], (_PIXELS, _PIXELS), mode="bilinear", antialias=True
        )
        either = (seen.opacity > 0) | (opacity > 0)
        found["front_psnr"] = -10 * float((seen.colour - colour).square().mean(1)[either].mean().log10())
    return found


def _iou(first: Float[Tensor, "V H W"], second: Float[Tensor, "V H W"]) -> float:
    """Of what two opacities cover at least by half, all views together."""
    first, second = first > 0.5, second > 0.5
    return float((first & second).sum() / (first | second).sum().clamp(min=1))


def section(rows: Sequence[Row], settings: str) -> str:
    """What "starts" rows say. settings: what all of them were made with, in words."""
    names = [name for name in _TOLD if any(name in row.measures for row in rows)]
    lines = []
    for beginning in BEGINNINGS:
        made = [row for row in rows if row.run.variant == beginning]
        if made:
            means = (brackets(statistics.mean(statistics.measured(made, name))) for name in names)
            lines.append((beginning, str(len(made)), *means))
    return "\n\n".join(
        [
            "## What an object begins from",
            "Standard, seed 0, a true object for each prompt. paint: its bare mesh gets colours, asked for by its "
            "description. blockout: four boxes around slices of it. picture: its front in plain colours. sketch: the "
            f"outline of that. {settings}",
            table(("begun from", "objects", *(_TOLD[name] for name in names)), lines),
        ]
    )
