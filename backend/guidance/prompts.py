"""View-dependent prompts: "a red mug, back view" where the camera sees the back.

Letters: B cameras, L tokens of width D; views in the order of `names.VIEWS`.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras
from backend.engine.names import VIEWS, View
from backend.guidance.interface import Guidance, Wishes

ViewMode = Literal["interpolated", "off"]
VIEW_MODES: tuple[ViewMode, ...] = get_args(ViewMode)

SUFFIXES: dict[View, str] = {
    "front": ", front view",
    "side": ", side view",
    "back": ", back view",
    "above": ", overhead view",
}

OVERHEAD = (60.0, 80.0)
"""Elevations in degrees at which "above" sets in and is all. It is said of photographs that look down, not of those
from a little above the horizon."""

_UNHEARD = 0.02
"""A Perp-Neg weight below this size changes nothing that is seen."""


@dataclass(frozen=True)
class PerpNeg:
    """How strongly to keep away from the front and the side view, by what the camera sees (arXiv 2304.04968).

    With r the share of "front" between front and side, or of "side" between side and back:
      front to side: front weight * exp(-front_decay r), side weight * exp(-side_decay (1 - r));
      side to back:  front weight,                       side weight / 2 * exp(-side_decay r);
    and 0 where the view is itself what is asked for: front at r > 0.8; side at r < 0.2 of the first
    and r > 0.8 of the second range. These are the constants of stable-dreamfusion. Seen from above
    all of it fades out, because "front" says little there.
    """

    weight: float = -2.0
    front_decay: float = 2.0
    side_decay: float = 10.0

    def at(self, shares: Float[Tensor, "B 4"]) -> Float[Tensor, "B 2"]:
        """Weights against the front and the side view, for shares as `view_shares` gives them."""
        front, side, back, above = shares.unbind(1)
        around = (front + side + back).clamp(min=1e-6)
        to_back = back > 0
        r = torch.where(to_back, side, front) / around
        toward_front = torch.exp(-self.front_decay * r) * (r <= 0.8)
        off_side = torch.exp(-self.side_decay * (1 - r)) * (r >= 0.2)
        toward_side = torch.exp(-self.side_decay * r) / 2 * (r <= 0.8)
        pair = torch.stack([toward_front.masked_fill(to_back, 1.0), torch.where(to_back, toward_side, off_side)], dim=1)
        return self.weight * pair * (1 - above)[:, None]


@dataclass(frozen=True)
class Contrast:
    """The prompt with words for a better and for a worse picture, encoded for all views, as the prompt itself is."""

    better: Float[Tensor, "v L D"]
    worse: Float[Tensor, "v L D"]


@dataclass(frozen=True)
class ViewPrompts:
    """A prompt, encoded once for all views.

    views: embeddings per view, or the plain prompt alone when `mode` is "off". negative: the negative
    prompt's. mode: "interpolated" mixes embeddings by angle.
    """

    views: Float[Tensor, "v L D"]
    negative: Float[Tensor, "1 L D"]
    mode: ViewMode = "interpolated"
    perp_neg: PerpNeg | None = None
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        if self.mode not in VIEW_MODES:
            raise ValueError(f"view mode {self.mode} is none of {', '.join(VIEW_MODES)}")
        if self.perp_neg is not None and self.mode == "off":
            raise ValueError("Perp-Neg keeps views apart: it needs view-dependent prompts")

    def at(self, cameras: Cameras) -> Wishes:
        """What is asked for from each camera, on the embeddings' device."""
        wishes = Wishes(self._seen(self.views, cameras), self.negative.expand(len(cameras.azimuth), -1, -1))
        if self.contrast is not None:
            better, worse = (self._seen(side, cameras) for side in (self.contrast.better, self.contrast.worse))
            wishes = replace(wishes, better=better, worse=worse)
        return wishes if self.perp_neg is None else self._kept_away(wishes, self.perp_neg, cameras)

    def _seen(self, embeddings: Float[Tensor, "v L D"], cameras: Cameras) -> Float[Tensor, "B L D"]:
        """Of embeddings for all views, that for each camera."""
        if self.mode == "off":
            return embeddings.expand(len(cameras.azimuth), -1, -1)
        return torch.einsum("bv,vld->bld", view_shares(cameras).to(embeddings.device), embeddings)

    def _kept_away(self, wishes: Wishes, perp_neg: PerpNeg, cameras: Cameras) -> Wishes:
        """With Perp-Neg's prompts, but for those that no camera needs to keep away from: each costs a prediction."""
        weights = perp_neg.at(view_shares(cameras).to(self.views.device))
        heard = [index for index, heard in enumerate((weights.abs() >= _UNHEARD).any(0).tolist()) if heard]
        if not heard:
            return wishes
        # Not by a list of indices, which would be sent to a GPU, and that waited for.
        against = torch.stack([self.views[index] for index in heard]).expand(len(weights), -1, -1, -1)
        return replace(wishes, against=against, against_weights=torch.stack([weights[:, i] for i in heard], dim=1))


def encode(
    guidance: Guidance,
    prompt: str,
    negative: str = "",
    mode: ViewMode = "interpolated",
    perp_neg: PerpNeg | None = None,
    contrast: tuple[str, str] | None = None,
) -> ViewPrompts:
    """`prompt` seen from every side, as `guidance` understands it. contrast: see `Contrast`; put after the prompt."""
    suffixes = [""] if mode == "off" else [SUFFIXES[view] for view in VIEWS]
    endings = [words + suffix for words in ("", *(contrast or ())) for suffix in suffixes]
    *embeddings, unwanted = guidance.encode([*[prompt] * len(endings), negative], [*endings, ""]).split(1)
    views, *sides = torch.cat(embeddings).split(len(suffixes))
    return ViewPrompts(views, unwanted, mode, perp_neg, Contrast(*sides) if sides else None)


def view_shares(cameras: Cameras) -> Float[Tensor, "B 4"]:
    """How much of each view a camera sees: not negative, sum 1, with continuous derivatives.

    Around: front cos^2 and side sin^2 of the azimuth, back cos^2 on the far side. Upwards all of them give way to
    "above", over `OVERHEAD`.
    """
    toward_front = torch.cos(cameras.azimuth)
    low, high = map(math.radians, OVERHEAD)
    rise = ((cameras.elevation - low) / (high - low)).clamp(0, 1)
    above = rise.square() * (3 - 2 * rise)
    front, back = toward_front.clamp(min=0).square(), toward_front.clamp(max=0).square()
    around = torch.stack([front, 1 - toward_front.square(), back], dim=1)
    return torch.cat([around * (1 - above)[:, None], above[:, None]], dim=1)
