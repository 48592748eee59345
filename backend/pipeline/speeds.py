"""What steps took on this machine, kept from job to job. Nothing here imports torch."""

import json
import logging
from typing import Any

from backend.errors import UserError
from backend.files import write_whole
from backend.home import data_folder
from backend.pipeline.request import Request

logger = logging.getLogger(__name__)

FILE = "speeds.json"


def usual(request: Request) -> bool:
    """Whether a step of it takes as long as its preset's does."""
    chosen = (request.field, request.rule, request.start, request.paint)
    return not request.latent_field and all(value is None for value in chosen)


def known(device: str) -> dict[tuple[str, str], float]:
    """Seconds of a step on `device` by model and preset. What cannot be read counts as not known."""
    found = _read().get(device)
    models = found if isinstance(found, dict) else {}
    return {
        (model, preset): float(seconds)
        for model, presets in models.items()
        if isinstance(presets, dict)
        for preset, seconds in presets.items()
        if isinstance(seconds, int | float) and 0 < seconds < float("inf")
    }


def remember(device: str, model: str, preset: str, seconds: float) -> None:
    """Keep what a step has just taken. A job that is made goes before: what cannot be written is let go."""
    steps = {**known(device), (model, preset): seconds}
    models: dict[str, dict[str, float]] = {}
    for (name, by), took in steps.items():
        models.setdefault(name, {})[by] = took
    try:
        folder = data_folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, (json.dumps({**_read(), device: models}, indent=2) + "\n").encode())
    except (OSError, UserError) as error:
        logger.warning("cannot keep what a step took (%s)", error)


def _read() -> dict[str, Any]:
    try:
        content = json.loads((data_folder() / FILE).read_text("utf-8"))
    except (OSError, UserError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
