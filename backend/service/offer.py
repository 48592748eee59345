"""What the server offers, and whether it can do what is asked for. Nothing here imports torch."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path

from backend.engine.names import FIELDS, SCHEDULES
from backend.errors import UserError
from backend.guidance import folders
from backend.guidance.library import ModelSource
from backend.pipeline.estimate import Expected
from backend.pipeline.presets import PRESETS, Preset, preset
from backend.pipeline.request import RANGES, Request, check
from backend.prior import words
from backend.service import wordlists
from shared.inputs import MESH, PICTURE
from shared.jobs import Generation
from shared.limits import HEADER_BYTES
from shared.offer import MODELS, Offer, OfferedModel, OfferedPreset, OfferedSchedule, Range

logger = logging.getLogger(__name__)

MODELS_BYTES = HEADER_BYTES * 3 // 4
"""Room for models in an offer; it travels in one header, with a little besides."""

Estimate = Callable[[ModelSource, str, Preset], Expected | None]
"""What a job takes, by its model, and by its preset's name and what that stands for; None: not known."""


def offer(models: Sequence[ModelSource], device: str, estimate: Estimate, curves: Mapping[str, Sequence[int]]) -> Offer:
    """What a request may choose from on a `device` of the kind "cpu", "cuda" or "mps".

    curves: timesteps of the schedules that have any, as far as they are known.

    A model that cannot be used or does not fit into the message is left out, and named in the log.
    """
    offered: list[OfferedModel] = []
    room = MODELS_BYTES
    for model in models:
        try:
            one = _offered(model, device, estimate)
        except (UserError, ValueError) as error:
            logger.warning("the model %r is not offered: %s", model.name, error)
            continue
        room -= len(json.dumps(asdict(one)))
        if room < 0 or len(offered) == MODELS:
            logger.warning("the model %r and those after it are not offered: there are too many", model.name)
            break
        offered.append(one)
    ranges = tuple(Range(name, float(least), float(most)) for name, (least, most) in RANGES.items())
    schedules = tuple(OfferedSchedule(name, tuple(curves.get(name, ()))) for name in SCHEDULES)
    return Offer(tuple(offered), schedules, FIELDS, ranges)


def _offered(model: ModelSource, device: str, estimate: Estimate) -> OfferedModel:
    """Raises UserError for damaged words, and ValueError for what no client would take."""
    small, listed = words.of(model.folder) is not None, wordlists.of(model.folder)
    latent, multi_view = folders.is_latent(model.folder), folders.is_multi_view(model.folder)
    return OfferedModel(
        name=model.name,
        licence=model.licence,
        size=model.size,
        latent=latent,
        words=listed.asset if listed else None,
        presets=tuple(
            _offered_preset(name, chosen, estimate(model, name, chosen))
            for name in PRESETS
            for chosen in (preset(name, small, device, latent, multi_view),)
        ),
    )


def _offered_preset(name: str, chosen: Preset, expected: Expected | None) -> OfferedPreset:
    return OfferedPreset(
        name=name,
        steps=chosen.steps,
        faces=chosen.faces,
        texture=chosen.texture,
        field=chosen.field,
        schedule=chosen.schedule,
        cfg=chosen.cfg,
        seconds=expected.seconds if expected else None,
        step_seconds=expected.step if expected else None,
    )


def checked(asked: Generation, models: Sequence[ModelSource]) -> tuple[Request, list[str]]:
    """What is asked for as the worker takes it, and warnings for the artist. A start has its digest for a path still.

    Raises UserError for what cannot be done. A model must go by the exact name of one of `models`: a path or the id
    of a model elsewhere would make the server read and fetch what a client likes.
    """
    named = {model.name: model for model in models}
    if asked.model not in named:
        nearest = get_close_matches(asked.model, named, n=3, cutoff=0.4) or list(named)[:3]
        raise UserError(f'the server has no model "{asked.model}"; choose another, such as {", ".join(nearest)}')
    _check_start(asked)
    values = {**asdict(asked), "start": Path(asked.start.sha256) if asked.start else None}
    request = Request(guidance=values.pop("model"), **values)
    return request, check(request, named[asked.model])


def _check_start(asked: Generation) -> None:
    """Raise UserError for what does not go with the sort of start that is named, or without one."""
    sort = asked.start.sort if asked.start else None
    if sort is None and (asked.paint_only or asked.sketch or asked.strength is not None):
        raise UserError("a strength, painting and a sketch need something to begin from; choose a mesh or a picture")
    if sort == PICTURE and asked.paint_only:
        raise UserError("a picture cannot be painted on; choose a mesh for that")
    if sort == PICTURE and asked.strength is not None:
        raise UserError("a strength says how far a mesh may be left, and a picture has none; leave it out")
    if sort == MESH and asked.sketch:
        raise UserError("a mesh is no sketch; choose a picture for that")
