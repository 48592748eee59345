"""How long a job will take, before its first step. Nothing here imports torch."""

from dataclasses import dataclass
from pathlib import Path

from backend.guidance import folders, work
from backend.prior import words

BESIDES_SECONDS = {"draft": 6.0, "standard": 9.0, "high": 20.0}
"""What loading, the mesh stage and the pictures take besides the steps, as measured on two cores without a GPU."""

_BESIDES_GUIDANCE = 1.2
"""A step takes so many times as long as what it asks of the model; between what is promised for GPUs and for CPUs."""


@dataclass(frozen=True)
class Expected:
    """Seconds of a whole job, and of each of its steps, or None where they are not known."""

    seconds: float
    step: float | None


def of_steps(step: float, steps: int, preset: str) -> float:
    """Seconds of a job of so many steps, each of `step` seconds."""
    return step * steps + BESIDES_SECONDS[preset]


def work_of_step(folder: Path, views: int, perp_neg: bool, latent_field: bool = False) -> float | None:
    """Floating-point operations of a step with the model in `folder`; None where that says nothing of its time.

    So it is with small models, which wait for more than arithmetic, and with those that `work` does not count. Perp-Neg
    keeps away from two views, unless the model needs no words for them. Raises UserError.
    """
    found = work.of_folder(folder) if words.of(folder) is None else None
    if found is None:
        return None
    in_words = perp_neg and not (folders.is_multi_view(folder) or folders.takes_views(folder))
    return _BESIDES_GUIDANCE * found.of_step(views, 4 if in_words else 2, latent_field)
