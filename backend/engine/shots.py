"""What is drawn for the views of a step, before any of them is rendered.

So a step may take its views all at once or some after the other, and is the same step.

Letters: B views, c colour channels, P pixels of a view, L tokens of width D.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.lighting import Lighting
from backend.guidance.interface import Wishes


@dataclass(frozen=True)
class Shots:
    """How B pictures are taken, and what is asked for in each. offsets: of the samples on each ray; see `render`."""

    cameras: Cameras
    lighting: Lighting
    backgrounds: Float[Tensor, "B c"]
    offsets: Float[Tensor, "B P"]
    wishes: Wishes

    def part(self, views: slice) -> "Shots":
        """Some of them."""
        return Shots(
            self.cameras.part(views),
            self.lighting.part(views),
            self.backgrounds[views],
            self.offsets[views],
            self.wishes.part(views),
        )


def groups(views: int, at_once: int | None, joint: int) -> list[slice]:
    """Which of the views are taken together, `at_once` at most; those that see each other are never parted."""
    if at_once is None:
        return [slice(0, views)]
    size = -(-at_once // joint) * joint
    return [slice(first, min(first + size, views)) for first in range(0, views, size)]
