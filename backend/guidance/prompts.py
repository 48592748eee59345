"""View-dependent prompts: "a red mug, back view" where the camera sees the back.

Letters: B cameras, L tokens of width D; views in the order of `names.VIEWS`.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import Cameras, view_name
from backend.engine.names import VIEWS, View
from backend.guidance.interface import Conditioning, Guidance

ViewMode = Literal["interpolated", "nearest", "off"]
VIEW_MODES: tuple[ViewMode, ...] = get_args(ViewMode)

SUFFIXES: dict[View, str] = {
    "front": ", front view",
    "side": ", side view",
    "back": ", back view",
    "above": ", overhead view",
}

_RAMP_DEGREES = (20.0, 60.0)
"""Elevations where "above" sets in and is all: halfway at `cameras.ABOVE_FROM_DEGREES`."""


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
class ViewPrompts:
    """A prompt, encoded once for all views.

    views: embeddings per view, or the plain prompt alone when `mode` is "off". negative: the negative
    prompt's. mode: "interpolated" mixes embeddings by angle, "nearest" takes that of the view's name.
    """

    views: Float[Tensor, "v L D"]
    negative: Float[Tensor, "1 L D"]
    mode: ViewMode = "interpolated"
    perp_neg: PerpNeg | None = None

    def __post_init__(self) -> None:
        if self.mode not in VIEW_MODES:
            raise ValueError(f"view mode {self.mode} is none of {', '.join(VIEW_MODES)}")
        if self.perp_neg is not None and self.mode == "off":
            raise ValueError("Perp-Neg keeps views apart: it needs view-dependent prompts")

    def at(self, cameras: Cameras) -> Conditioning:
        """The conditioning for each camera, on the embeddings' device."""
        count, device = len(cameras.azimuth), self.views.device
        negative = self.negative.expand(count, -1, -1)
        if self.mode == "off":
            return Conditioning(self.views.expand(count, -1, -1), negative)
        shares = view_shares(cameras).to(device)
        mixed = shares if self.mode == "interpolated" else _nearest(cameras).to(device)
        positive = torch.einsum("bv,vld->bld", mixed, self.views)
        if self.perp_neg is None:
            return Conditioning(positive, negative)
        against = self.views[:2].expand(count, -1, -1, -1)
        return Conditioning(positive, negative, against, self.perp_neg.at(shares))


def encode(
    guidance: Guidance,
    prompt: str,
    negative: str = "",
    mode: ViewMode = "interpolated",
    perp_neg: PerpNeg | None = None,
) -> ViewPrompts:
    """`prompt` seen from every side, as `guidance` understands it."""
    texts = [prompt] if mode == "off" else [prompt + SUFFIXES[view] for view in VIEWS]
    *views, unwanted = guidance.encode([*texts, negative]).split(1)
    return ViewPrompts(torch.cat(views), unwanted, mode, perp_neg)


def view_shares(cameras: Cameras) -> Float[Tensor, "B 4"]:
    """How much of each view a camera sees: not negative, sum 1, with continuous derivatives.

    Around: front cos^2 and side sin^2 of the azimuth, back cos^2 on the far side: halves where
    `cameras.view_name` changes the name. Upwards all of them give way to "above".
    """
    toward_front = torch.cos(cameras.azimuth)
    low, high = map(math.radians, _RAMP_DEGREES)
    rise = ((cameras.elevation - low) / (high - low)).clamp(0, 1)
    above = rise.square() * (3 - 2 * rise)
    front, back = toward_front.clamp(min=0).square(), toward_front.clamp(max=0).square()
    around = torch.stack([front, 1 - toward_front.square(), back], dim=1)
    return torch.cat([around * (1 - above)[:, None], above[:, None]], dim=1)


def _nearest(cameras: Cameras) -> Float[Tensor, "B 4"]:
    """One-hot shares: the view that has the camera's name."""
    names = [view_name(*angles) for angles in zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)]
    indices = torch.tensor([VIEWS.index(name) for name in names])
    return torch.nn.functional.one_hot(indices, len(VIEWS)).float()
