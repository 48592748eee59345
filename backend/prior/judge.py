"""An independent judge: what does a picture show, and which way does that face?

It never guides an optimisation. It is trained under other lights, backgrounds and exposures than the model, on fewer
objects and views, and on untextured pictures too, so that it does not share the model's blind spots and can tell
whether the shape alone is right.

Letters: B images, N nouns, S sectors of the turn around an object.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend.engine.cameras import Cameras, ring
from backend.errors import UserError
from backend.files import sha256
from backend.prior.lexicon import Lexicon

SIZE = 64
"""Larger images are brought to SIZE x SIZE pixels before they are judged."""

FEW = 5
"""Answers among which the right one is to be."""

EIGHTH = math.pi / 4
"""A view that is less off course is the right one of front, back, left and right."""

SECTORS = 8
"""Azimuths that are told apart, the first one in front."""

_WIDTHS = (48, 96, 160, 160)
_BLOCKS = (1, 1, 2, 1)
_HIDDEN = 192
_WEIGHTS = "judge.safetensors"


def judging_views() -> Cameras:
    """The fixed views that an object is judged from, one a sector."""
    return ring(SECTORS, elevation_degrees=20)


@dataclass(frozen=True)
class Verdict:
    """Log-probabilities, one row per image (or per object, after `together`)."""

    nouns: Float[Tensor, "B N"]
    sectors: Float[Tensor, "B S"]

    @property
    def azimuth(self) -> Float[Tensor, " B"]:
        """Where the camera stands around the object, in radians: the direction of the mean over sectors."""
        angle = 2 * math.pi / SECTORS * torch.arange(SECTORS)
        share = self.sectors.exp()
        return torch.atan2(share @ angle.sin(), share @ angle.cos())

    def together(self) -> "Verdict":
        """One row for every SECTORS consecutive pictures, an object's `judging_views`: the mean score.

        The azimuth is then by how much the object is turned away from where it should face.
        """
        turned = self.sectors.unflatten(0, (-1, SECTORS))
        aligned = torch.stack([turned[:, view].roll(-view, dims=-1) for view in range(SECTORS)])
        return Verdict(self.nouns.unflatten(0, (-1, SECTORS)).mean(1), aligned.mean(0).log_softmax(-1))


def right_answers(lexicon: Lexicon) -> Bool[Tensor, "N N"]:
    """For each noun shown, which nouns are right."""
    right = torch.zeros(len(lexicon.nouns), len(lexicon.nouns), dtype=torch.bool)
    for number, noun in enumerate(lexicon.nouns):
        right[number, [lexicon.numbers[answer] for answer in lexicon.right(noun.noun)]] = True
    return right


def ranks(nouns: Float[Tensor, "B N"], right: Bool[Tensor, "B N"]) -> Int[Tensor, " B"]:
    """How many wrong nouns are put before the best right one."""
    best = nouns.masked_fill(~right, -torch.inf).amax(-1, keepdim=True)
    return (nouns > best).sum(-1)


def off_course(seen: Float[Tensor, " B"], asked: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """How far apart two azimuths are, in radians from 0 to pi."""
    return (torch.remainder(seen - asked + math.pi, 2 * math.pi) - math.pi).abs()


class Judge(nn.Module):
    """A small residual network with a head for each of the two questions."""

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.lexicon = lexicon
        self.conv_in = nn.Conv2d(12, _WIDTHS[0], 3, padding=1, bias=False)
        stages: list[nn.Module] = [nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU()]
        stages += [_Residual(_WIDTHS[0]) for _ in range(_BLOCKS[0])]
        for (narrow, wide), blocks in zip(pairwise(_WIDTHS), _BLOCKS[1:], strict=True):
            stages += [*_convolution(narrow, wide, stride=2), nn.ReLU(), *(_Residual(wide) for _ in range(blocks))]
        # A grid of 2 x 2 features, not their mean: where things are tells which way they face.
        self.trunk = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(4 * _WIDTHS[-1], _HIDDEN), nn.ReLU())
        self.nouns = nn.Linear(_HIDDEN, len(lexicon.nouns))
        self.sectors = nn.Linear(_HIDDEN, SECTORS)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Verdict:
        """Judge images in [0, 1]."""
        features = self.features(images)
        return Verdict(*(head(features).float().log_softmax(-1) for head in (self.nouns, self.sectors)))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B f"]:
        """What the judge sees in images in [0, 1]: alike for pictures that are alike to it."""
        if images.shape[-1] > SIZE:
            images = nn.functional.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
        folded = nn.functional.pixel_unshuffle(2 * images - 1, 2)
        seen: Tensor = self.hidden(self.trunk(self.conv_in(folded)))
        return seen


def _convolution(narrow: int, wide: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(wide)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(width, width), nn.ReLU(), *_convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def save(judge: Judge, folder: Path) -> None:
    """Write the judge and what it knows into a model's folder, weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    judge.lexicon.save(folder)
    tensors = {name: tensor for name, tensor in judge.state_dict().items() if tensor.is_floating_point()}
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, folder / _WEIGHTS)


def revision(folder: Path) -> str:
    """ "sha256:" and the digest of the weights: which judge it is."""
    return f"sha256:{sha256(folder / _WEIGHTS)}"


def load(folder: Path) -> Judge:
    """Read a model's judge back, in single precision, ready to judge.

    Raises FileNotFoundError if there is none, and UserError if it is damaged or of another lexicon.
    """
    if not (folder / _WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder} holds no judge ({_WEIGHTS} is missing); train one for it")
    judge = Judge(Lexicon.load(folder))
    counts = {name: tensor for name, tensor in judge.state_dict().items() if not tensor.is_floating_point()}
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(folder / _WEIGHTS).items()}
        judge.load_state_dict(counts | tensors)
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / _WEIGHTS} is damaged or of other objects; train it anew") from error
    return judge.eval().requires_grad_(False)
