"""Runs that begin from something made of a true object, see `beginnings`, and what the report says of them.

Letters: V views, H x W pixels.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from backend.engine.reference import Reference
from backend.errors import UserError
from backend.evaluation import measures, plots, statistics
from backend.evaluation.beginnings import begun, boxes, pictured
from backend.evaluation.claims import LABELS
from backend.evaluation.gallery import shown
from backend.evaluation.measures import NOTHING_SEEN, Pictures
from backend.evaluation.references import F_THRESHOLD, References, turned
from backend.evaluation.rows import Row
from backend.evaluation.runs import BEGINNINGS, Beginning, Run, picture_of
from backend.evaluation.tables import brackets, table
from backend.guidance.diffusion import DiffusionGuidance
from backend.mesh import raycast
from backend.mesh.asset import Asset
from backend.mesh.fidelity import LIKE_ENOUGH, compare, f_scores
from backend.mesh.placement import Placement
from backend.pipeline.asking import asked as asked_of
from backend.pipeline.generate import stages_of
from backend.pipeline.given import as_asset, read
from backend.pipeline.job import Job, planned
from backend.pipeline.request import Request
from backend.pipeline.stages import Desk, Work, needed
from backend.prior.catalogue import Entry
from backend.prior.judge import Judge, judging_views
from backend.prior.lexicon import Understanding

_TEXELS, _PIXELS = 512, 128

_ALL = ("r_precision", "few", "grey", "own_f_score")
_OF: Mapping[Beginning, tuple[str, ...]] = {
    "nothing": ("box_iou",),
    "paint": ("apart", "plain_apart", "true_r_precision"),
    "blockout": ("box_iou",),
    "picture": ("front_iou", "front_psnr"),
    "sketch": ("front_iou",),
}
"""What is measured of every run, and of each beginning besides."""

_WORST = {"apart": NOTHING_SEEN, "box_iou": 0.0, "front_iou": 0.0, "front_psnr": 0.0}
"""Of what comes of nothing; the others tell of the object itself."""

_TOLD: Mapping[str, str] = {
    **{name: LABELS[name] for name in ("r_precision", "few", "grey")},
    "true_r_precision": "R-precision of the object itself",
    "apart": "CIEDE2000 from its colours",
    "plain_apart": "CIEDE2000 from them of their mean",
    "box_iou": "silhouette IoU with the boxes",
    "front_iou": "silhouette IoU from the front",
    "front_psnr": "PSNR from the front, dB",
    "own_f_score": "F-score against the object",
}


@dataclass(frozen=True)
class Truth:
    """An object, inside the unit sphere and with its colours."""

    entry: Entry
    asset: Asset

    @classmethod
    @cache  # runs of a prompt want the same
    def of(cls, references: References, noun: str) -> "Truth":
        """The first object that is called `noun`. Raises UserError if there is none, or none that can be read."""
        entry = references.called(noun)
        given = read(references.folder / entry.file)
        asset, _ = as_asset(given, _TEXELS)
        return cls(entry, given.placement.inwards(asset))


def check(references: References | None, asked: Sequence[Understanding]) -> None:
    """Raise UserError if an object is missing, or cannot be read, that something asked for is to begin from."""
    if references is None:
        raise UserError("what objects begin from is made of true ones: name a folder of them with --objects")
    for one in asked:
        Truth.of(references, one.name)


def measured(
    run: Run, name: str, device: str, guidance: DiffusionGuidance, net: Judge, references: References
) -> tuple[Row, Float[Tensor, "3 3 H W"]]:
    """Carry out a run and measure its result. name, device: of the model, as a request has them.

    Shown is what it begins from, see `beginnings.pictured`, and what it comes to, see `gallery.shown`.

    Of what is refused on the way, such as an outline without a width, nothing comes: it has the worst measures.
    """
    beginning, asked = cast(Beginning, run.variant), net.lexicon.knows(run.prompt)
    truth = Truth.of(references, asked.name)
    prompt = _described(truth.entry, asked, net) if beginning == "paint" else run.prompt
    request = Request(
        prompt,
        guidance=name,
        device=device,
        seed=run.seed,
        steps=run.steps,
        schedule=run.schedule,
        paint_only=beginning == "paint",
        sketch=beginning == "sketch",
    )
    clock = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        try:
            start = begun(beginning, truth.asset, Path(folder))
            first = pictured(start, truth.asset)
            job, _ = planned(replace(request, start=start))
            made, wanted = _made(job, guidance, Path(folder))
        except UserError as error:
            worst = dict.fromkeys(_ALL, 0.0) | {name: _WORST[name] for name in _OF[beginning] if name in _WORST}
            nothing = torch.full((2, *first.shape), measures.BACKGROUND)
            return Row(run, worst, failure=str(error)), torch.cat([first[None], nothing])
        seconds = round(time.monotonic() - clock, 3)
    kept_to = _like_its_picture(wanted, made) if wanted else {}
    pictures = measures.mesh_pictures(made)
    found = measures.of_object(net, pictures, made.mesh, asked, references=None)
    found |= {"own_f_score": _f_score(made, truth)} | kept_to
    if beginning == "paint":
        found |= _like_its_colours(pictures, measures.mesh_pictures(truth.asset), net, asked)
    if beginning in ("nothing", "blockout"):
        found["box_iou"] = _like_its_boxes(made if job.start else _in_sphere(made), truth)
    features = tuple(measures.features(net, pictures.textured).tolist())
    return Row(run, found, seconds, features), torch.cat([first[None], shown(made)])


def _described(entry: Entry, asked: Understanding, net: Judge) -> str:
    """The object's own description, where that is understood as one of the words for it; or its kind."""
    for phrase in entry.phrases:
        try:
            if net.lexicon.knows(phrase).name in entry.names:
                return phrase
        except UserError:
            continue
    return asked.name


def _made(job: Job, guidance: DiffusionGuidance, folder: Path) -> tuple[Asset, Reference | None]:
    """What comes of a job, inside the unit sphere, and the picture that it was to look like."""
    desk, work = Desk(job.recipe(), folder, {}, lambda status: None), Work()
    for stage in stages_of(job, guidance, asked_of(job, guidance)):
        work = stage.carry_out(work, desk)
    asset = needed(work.asset)
    return work.placement.inwards(asset) if work.placement else asset, work.reference


def _in_sphere(asset: Asset) -> Asset:
    """As large as the unit sphere."""
    return Placement.of(asset.mesh.vertices).inwards(asset)


def _f_score(made: Asset, truth: Truth) -> float:
    """Of one object against another, both as large as the unit sphere: no picture says how large a thing is.

    Against one without a front in the best of four quarter turns, as in `References.f_scores`.
    """
    ours, theirs = _in_sphere(made).mesh, _in_sphere(truth.asset).mesh
    turns = [turned(theirs, quarter) for quarter in range(1 if truth.entry.has_front else 4)]
    generator = torch.Generator().manual_seed(0)
    return max(f_scores(ours, each, (F_THRESHOLD,), generator)[0] for each in turns)


def _like_its_colours(made: Pictures, true: Pictures, net: Judge, asked: Understanding) -> dict[str, float]:
    """How far the colours are from the true ones where both are seen, how far these are from their mean, and whether
    the object itself is taken for what it is.
    """
    seen = made.covered & true.covered
    ours, theirs = (of.unlit.permute(0, 2, 3, 1)[seen].numpy() for of in (made, true))
    mean = np.broadcast_to(theirs.mean(0), theirs.shape)
    return {
        "true_r_precision": measures.judged(net, true.textured, asked)["r_precision"],
        "apart": float(deltaE_ciede2000(rgb2lab(ours), rgb2lab(theirs)).mean()),
        "plain_apart": float(deltaE_ciede2000(rgb2lab(mean), rgb2lab(theirs)).mean()),
    }


def _like_its_boxes(made: Asset, truth: Truth) -> float:
    found = boxes(truth.asset.mesh)
    uvs, colour = np.zeros((len(found.triangles), 3, 2), np.float32), np.zeros((1, 1, 3), np.uint8)
    stand_in = _in_sphere(Asset(found, uvs, colour, raycast.corner_normals(found)))
    first, second = (raycast.render(each, judging_views(), _PIXELS) for each in (stand_in, made))
    return compare(first, second).silhouette_iou


def _like_its_picture(wanted: Reference, made: Asset) -> dict[str, float]:
    """How like the picture, or the sketch, the object is from where that is seen."""
    likeness = compare(wanted.pictured(_PIXELS), raycast.render(made, wanted.camera, _PIXELS))
    found = {"front_iou": likeness.silhouette_iou}
    return found if wanted.colour is None else found | {"front_psnr": min(likeness.psnr, LIKE_ENOUGH)}


def section(rows: Sequence[Row], settings: str, folder: Path) -> str:
    """What "starts" rows say, and show, where their pictures are still in `folder`. settings: of all, in words."""
    tried = {name: [row for row in rows if row.run.variant == name] for name in BEGINNINGS}
    every_way = set.intersection(*({row.run.prompt for row in made} for made in tried.values() if made))
    common = {name: [row for row in made if row.run.prompt in every_way] for name, made in tried.items()}
    failed = [f"{row.run.prompt} ({row.run.variant}: {row.failure})" for row in rows if row.failure]
    return "\n\n".join(
        [
            "## What an object begins from",
            "Standard, seed 0, a true object for each prompt. paint: its bare mesh gets colours, asked for by its "
            "description. blockout: four boxes around slices of it. picture: its front in plain colours. sketch: the "
            f"outline of that. Common prompts are those that were begun in every way. {settings}",
            table(("begun from", "prompts", *_TOLD.values()), [*_lines("common", common), *_lines("all", tried)]),
            f"Nothing came of: {', '.join(failed) or 'none'}.",
            *_sheet(common, folder),
        ]
    )


def _sheet(common: Mapping[Beginning, Sequence[Row]], folder: Path) -> Iterator[str]:
    """A row for each prompt, and in it for each beginning what it is, and two views of what came of it."""
    prompts = dict.fromkeys(row.run.prompt for rows in common.values() for row in rows)
    runs = [row.run for prompt in prompts for rows in common.values() for row in rows if row.run.prompt == prompt]
    pictures, path = [picture_of(run, folder) for run in runs], folder / "starts-sheet.png"
    if plots.kept(path, pictures, lambda: plots.strips(pictures, len(runs) // len(prompts), path)):
        told = ", ".join(name for name, rows in common.items() if rows)
        yield f"Begun from {told}; each shown before what came of it:\n\n![sheet]({path.name})"


def _lines(told: str, made: Mapping[Beginning, Sequence[Row]]) -> Iterator[Sequence[str]]:
    for name, rows in made.items():
        means = (brackets(statistics.mean(statistics.measured(rows, measure))) for measure in _TOLD)
        yield name, f"{told} {len(rows)}", *means
