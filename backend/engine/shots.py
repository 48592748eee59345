"""What is drawn for the views of a step, before any of them is rendered.

So a step may take its views all at once or some after the other, and is the same step.

Letters: B views, c colour channels, P pixels of a view, L tokens of width D.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.lighting import Lighting
from backend.engine.rendering import stratified
from backend.engine.settings import Settings
from backend.guidance.interface import Guidance, Wishes


@runtime_checkable
class Prompts(Protocol):
    """What is asked for, seen from where: see `guidance.prompts`."""

    def at(self, cameras: Cameras) -> Wishes:
        """What is asked for from each camera."""
        ...


@dataclass(frozen=True)
class Shots:
    """How B pictures are taken, and what is asked for in each.

    size: pixels a side. offsets: of the samples on each ray; see `render`.
    """

    size: int
    cameras: Cameras
    lighting: Lighting
    backgrounds: Float[Tensor, "B c"]
    offsets: Float[Tensor, "B P"]
    wishes: Wishes

    @classmethod
    def draw(
        cls,
        settings: Settings,
        guidance: Guidance,
        prompts: Prompts,
        progress: float,
        draws: Callable[[str], torch.Generator],
    ) -> "Shots":
        """Those of one step. draws: a generator for each purpose."""
        views, drawn = settings.views, settings.cameras
        cameras = drawn.rigs(1, views, draws("cameras")) if settings.rig else drawn.sample(views, draws("cameras"))
        size, frame = settings.detail.pixels(guidance.size, progress), settings.detail.frame.at(progress)
        if frame != 1:
            cameras = cameras.closer(frame)
        lighting = Lighting.draw(settings.shading, settings.lights, cameras, progress, draws("lights"))
        rigs = views // settings.joint_views  # whose views were taught to have one background
        colours = guidance.plain(settings.backgrounds.sample(rigs, draws("backgrounds")))
        offsets = stratified(views, size, draws("samples"))
        backgrounds = colours.repeat_interleave(settings.joint_views, dim=0)
        return cls(size, cameras, lighting, backgrounds, offsets, prompts.at(cameras))

    def part(self, views: slice) -> "Shots":
        """Some of them."""
        return Shots(
            self.size,
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
