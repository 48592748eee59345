"""An independent judge: which object, colour, pattern and view is this a picture of?

It never guides an optimisation. It is trained on other seeds, lights, backgrounds and exposures than
the prior, so it does not share the prior's blind spots, and on untextured pictures too, so it can
tell whether the shape alone is right.

Letters: B images, O objects, C colours, P patterns (plain first), V views.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend.engine.cameras import Cameras, ring
from backend.engine.names import VIEWS
from backend.prior.vocabulary import Vocabulary

SIZE = 32
"""Images of any size are brought to SIZE x SIZE pixels before they are judged."""

_WIDTHS = (32, 64, 96, 160)
_HIDDEN = 96
_WEIGHTS = "judge.safetensors"


def judging_views() -> Cameras:
    """The eight fixed views that an object is judged from."""
    return ring(8, elevation_degrees=20)


@dataclass(frozen=True)
class Verdict:
    """Log-probabilities, one row per image (or per object, after `together`)."""

    objects: Float[Tensor, "B O"]
    colours: Float[Tensor, "B C"]
    patterns: Float[Tensor, "B P"]
    views: Float[Tensor, "B V"]

    @property
    def captions(self) -> Float[Tensor, "B O C"]:
        """The score of every object x colour caption."""
        return self.objects[:, :, None] + self.colours[:, None, :]

    def together(self, views: int = 8) -> "Verdict":
        """One row for each `views` consecutive pictures of the same object: the mean score."""
        return Verdict(
            *(
                column.unflatten(0, (-1, views)).mean(1)
                for column in (self.objects, self.colours, self.patterns, self.views)
            )
        )


class Judge(nn.Module):
    """A small residual network with one head per question."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        answers = (len(vocabulary.objects), len(vocabulary.colours), 1 + len(vocabulary.patterns), len(VIEWS))
        stages: list[nn.Module] = [nn.Conv2d(3, _WIDTHS[0], 3, padding=1)]
        for narrow, wide in pairwise(_WIDTHS):
            stages += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), _Residual(wide)]
        self.trunk = nn.Sequential(*stages, nn.GroupNorm(8, _WIDTHS[-1]), nn.SiLU())
        # A grid of 4 x 4 features, not their mean: where things are tells objects and views apart.
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(16 * _WIDTHS[-1], _HIDDEN), nn.SiLU())
        self.heads = nn.ModuleList(nn.Linear(_HIDDEN, count) for count in answers)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Verdict:
        """Judge images in [0, 1]."""
        features = self.features(images)
        return Verdict(*(head(features).float().log_softmax(-1) for head in self.heads))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B f"]:
        """What the judge sees in images in [0, 1]: alike for pictures that are alike to it."""
        if images.shape[-2:] != (SIZE, SIZE):
            images = nn.functional.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
        seen: Tensor = self.hidden(self.trunk(2 * images - 1))
        return seen


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def save(judge: Judge, folder: Path) -> None:
    """Write the judge into a model's folder, weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in judge.state_dict().items()}, folder / _WEIGHTS)


def revision(folder: Path) -> str:
    """ "sha256:" and the digest of the weights: which judge it is."""
    with (folder / _WEIGHTS).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def load(folder: Path) -> Judge:
    """Read a model's judge back, in single precision, ready to judge."""
    judge = Judge(Vocabulary.load(folder))
    judge.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / _WEIGHTS).items()})
    return judge.eval().requires_grad_(False)
