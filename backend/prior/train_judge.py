"""Train the judge: python -m backend.prior.train_judge --objects FOLDER --run RUN.

It learns from the pictures of a run of `train`, less some objects and views that it is examined on, and lies in
RUN/judge afterwards. Stopped, it goes on where it was.

Letters: B images, E entries, N nouns, S sectors.
"""

import logging
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.engine.shading import BackgroundDistribution, LightDistribution, Lights
from backend.errors import UserError
from backend.prior import judge, pool
from backend.prior.colours import repainted
from backend.prior.drawing import Paints, World, albedo
from backend.prior.judge import SECTORS, Judge, Verdict, right_answers
from backend.prior.layers import Layers
from backend.prior.lexicon import Lexicon
from backend.prior.optimiser import Optimiser
from backend.prior.pool import RIG, Pool

logger = logging.getLogger(__name__)

EXAM_VIEWS = 2 * RIG
"""The last views of every object, which are kept for the exam."""

_FEWEST = 4
"""Of every noun that has so many objects, one is kept for the exam."""

JUDGES_WORLD = World(
    lights=LightDistribution(ambient=(0.2, 0.95), jitter=0.6),
    backgrounds=BackgroundDistribution(level=(0.0, 1.0), tint=0.1),
)
"""Wider light and backgrounds than the model's, so that the judge looks at the object."""

_UNLIT = 0.25
_PAINTED = 0.45
_PAINT_JITTER = 0.06
_MIRRORED = 0.5
_WARPED = 5
"""Points per axis of the grid whose shifts bend a picture."""


@dataclass(frozen=True)
class JudgeTraining:
    """How a judge is trained. images: of all sessions together; the first `small` of them at half the size.

    untextured: the share of bare shapes. own: what the very noun counts in an answer, the rest being shared by all that
    are right. facing: what the way an object faces counts against its noun. checkpoint_every: in images.
    """

    images: int = 600_000
    small: int = 400_000
    batch: int = 128
    learning_rate: float = 3e-3
    warm_up: int = 15_000
    weight_decay: float = 0.05
    untextured: float = 0.25
    own: float = 0.7
    facing: float = 1.0
    checkpoint_every: int = 25_000
    seed: int = 0

    def rate(self, images: int) -> float:
        """Share of the learning rate after `images`: a linear warm-up, then half a cosine down to zero."""
        spent = min(1.0, images / self.images)
        return min(1.0, (images + self.batch) / self.warm_up) * (1 + math.cos(math.pi * spent)) / 2


@dataclass(frozen=True)
class Split:
    """Which pictures of a pool the judge learns from, and which it is examined on: EXAM_VIEWS of each object, those
    that it knows by other views and those that it does not know.
    """

    taught: Int[Tensor, " n"]
    new_views: Int[Tensor, " m"]
    new_objects: Int[Tensor, " k"]

    @classmethod
    def of(cls, pool: Pool) -> "Split":
        """The last EXAM_VIEWS of each object are kept, and of every noun with four objects or more the last one."""
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(pool.entries):
            kinds[entry.noun].append(number)
        kept = torch.zeros(len(pool.entries), dtype=torch.bool)
        kept[[numbers[-1] for numbers in kinds.values() if len(numbers) >= _FEWEST]] = True
        counts = pool.entry.bincount()
        left = counts.cumsum(0)[pool.entry] - torch.arange(len(pool.entry))
        new, late = kept[pool.entry], left <= EXAM_VIEWS
        return cls(*((which).nonzero()[:, 0] for which in (~new & ~late, ~new & late, new & late)))


class Photographer:
    """Takes pictures of a pool's objects as the judge is to see them."""

    def __init__(self, pool: Pool, generator: torch.Generator) -> None:
        self._pool, self._generator = pool, generator
        self._paints = Paints(pool)
        self._paintable = torch.tensor([bool(names) for names in self._paints.names])
        self._palette = torch.stack([*self._paints.palette.values()])

    def textured(self, index: Int[Tensor, " B"], small: bool = False) -> Float[Tensor, "B 3 H W"]:
        """The pictures at `index`, some with another main colour than they have. small: at half their size."""
        layers, entry = self._layers(index, small), self._pool.entry[index]
        chosen = (self._paintable[entry] & (self._random(len(index)) < _PAINTED)).nonzero()[:, 0]
        part = Layers(layers.albedo[chosen], layers.coverage[chosen], layers.normals[chosen])
        number = (self._random(len(chosen)) * len(self._palette)).long()
        wanted = self._palette[number] + _PAINT_JITTER * torch.randn(len(chosen), 3, generator=self._generator)
        new = repainted(albedo(part), self._paints.main[entry[chosen]], wanted)
        colours = layers.albedo.index_copy(0, chosen, new.permute(0, 3, 1, 2) * part.coverage[:, None])
        return self._lit(Layers(colours, layers.coverage, layers.normals))

    def untextured(self, index: Int[Tensor, " B"], small: bool = False) -> Float[Tensor, "B 3 H W"]:
        """The bare shapes at `index`, each in a grey of its own."""
        layers = self._layers(index, small)
        grey = 0.25 + 0.7 * self._random(len(index))
        plain = (grey[:, None, None] * layers.coverage)[:, None].expand(-1, 3, -1, -1)
        return self._lit(Layers(plain, layers.coverage, layers.normals))

    def _layers(self, index: Int[Tensor, " B"], small: bool) -> Layers:
        layers = self._pool.pictures(index)
        return layers.smaller() if small else layers

    def _lit(self, layers: Layers) -> Float[Tensor, "B 3 H W"]:
        count = len(layers.coverage)
        lights = JUDGES_WORLD.lights.sample(torch.tensor([[0.0, 0.0, 1.0]]).expand(count, -1), self._generator)
        ambient = torch.where(self._random(count) < _UNLIT, 1.0, lights.ambient)
        background = JUDGES_WORLD.backgrounds.sample(count, self._generator)
        return exposed(layers.lit(Lights(lights.direction, ambient), background), self._generator)

    def _random(self, count: int) -> Float[Tensor, " B"]:
        return torch.rand(count, generator=self._generator)


def exposed(images: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Images as a careless photographer takes them: gain, gamma, softness and noise at random."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    soft = images
    for _ in range(2):
        soft = nn.functional.avg_pool2d(soft, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.lerp(images, soft, uniform(-0.3, 1.0).clamp(min=0))
    images = (uniform(0.75, 1.25) * images.clamp(min=0)).pow(uniform(0.8, 1.25))
    return (images + uniform(0.0, 0.06) * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def bent(
    images: Float[Tensor, "B 3 H W"], mirrored: Bool[Tensor, " B"], generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Images turned, shifted, scaled and bent a little, as an object would come out that is not quite right."""
    count, _, height, width = images.shape

    def spread(*shape: int) -> Tensor:
        return 2 * torch.rand(count, *shape, generator=generator) - 1

    scale, angle = 1.02 + 0.14 * spread(), 0.14 * spread()
    sine, cosine = scale * angle.sin(), scale * angle.cos()
    sign = torch.where(mirrored, -1.0, 1.0)
    affine = torch.stack([sign * cosine, -sine, sign * sine, cosine], dim=-1).unflatten(-1, (2, 2))
    shifts = 0.08 * spread(2, 1)
    grid = nn.functional.affine_grid(torch.cat([affine, shifts], dim=-1), [count, 3, height, width], False)
    strength = 0.05 * torch.rand(count, 1, 1, 1, generator=generator)
    bends = nn.functional.interpolate(
        strength * spread(2, _WARPED, _WARPED), (height, width), mode="bicubic", align_corners=True
    )
    where = grid + bends.permute(0, 2, 3, 1)
    return nn.functional.grid_sample(images, where, padding_mode="border", align_corners=False)


def noun_targets(lexicon: Lexicon, own: float) -> Float[Tensor, "N N"]:
    """For each noun shown, what is to be answered: `own` for itself, the rest shared by all right answers."""
    targets = right_answers(lexicon).float()
    return own * torch.eye(len(targets)) + (1 - own) * targets / targets.sum(-1, keepdim=True)


def sector_targets(azimuth: Float[Tensor, " B"]) -> Float[Tensor, "B S"]:
    """What is to be answered for cameras at `azimuth`: the two nearest sectors, the nearer the more."""
    place = azimuth * SECTORS / (2 * math.pi)
    low = place.floor()
    shares = torch.stack([1 - (place - low), place - low], dim=-1)
    both = torch.stack([low, low + 1], dim=-1).long() % SECTORS
    return torch.zeros(len(azimuth), SECTORS).scatter_add(1, both, shares)


def loss(
    verdict: Verdict, nouns: Float[Tensor, "B N"], sectors: Float[Tensor, "B S"], facing: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the answers; which way an object faces counts `facing` of a noun."""
    named = -(nouns * verdict.nouns).sum(-1)
    turned = -(sectors * verdict.sectors).sum(-1)
    return (named + facing * turned).mean()


class Lessons:
    """Batches of pictures and right answers, without end."""

    def __init__(self, training: JudgeTraining, pool: Pool, lexicon: Lexicon, generator: torch.Generator) -> None:
        self._training, self._pool, self._generator = training, pool, generator
        self._photographer = Photographer(pool, generator)
        self._taught = Split.of(pool).taught
        self._targets = noun_targets(lexicon, training.own)
        self._noun = torch.tensor([lexicon.numbers[entry.noun] for entry in pool.entries])
        self._has_front = torch.tensor([entry.has_front for entry in pool.entries])
        shown = self._noun[pool.entry[self._taught]]
        # Between all objects alike and all nouns alike, as the model sees them.
        self._weights = shown.bincount(minlength=len(lexicon.nouns))[shown].float().rsqrt()

    def draw(
        self, small: bool
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B N"], Float[Tensor, "B S"], Float[Tensor, " B"]]:
        """Images, and the right answers as `loss` takes them. small: at half their size."""
        training, generator = self._training, self._generator
        index = self._taught[torch.multinomial(self._weights, training.batch, replacement=True, generator=generator)]
        bare = int(training.batch * training.untextured)
        kinds = self._photographer.untextured(index[:bare], small), self._photographer.textured(index[bare:], small)
        mirrored = torch.rand(training.batch, generator=generator) < _MIRRORED
        entry, azimuth = self._pool.entry[index], self._pool.cameras.azimuth[index]
        return (
            bent(torch.cat(kinds), mirrored, generator),
            self._targets[self._noun[entry]],
            sector_targets(torch.where(mirrored, -azimuth, azimuth)),
            training.facing * self._has_front[entry],
        )


class Trainer:
    """A judge under training, and how far it is."""

    def __init__(self, training: JudgeTraining, lexicon: Lexicon) -> None:
        self.training = training
        with torch.random.fork_rng():
            torch.manual_seed(training.seed)
            self.judge = Judge(lexicon)
        self.judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimiser = Optimiser(self.judge, training.learning_rate, training.learning_rate, training.weight_decay)
        self.step = 0

    @property
    def images(self) -> int:
        return self.step * self.training.batch

    @property
    def small(self) -> bool:
        """Whether pictures are still at half their size."""
        return self.images < self.training.small

    @property
    def finished(self) -> bool:
        return self.images >= self.training.images

    def advance(self, images: Float[Tensor, "B 3 H W"], *answers: Tensor) -> Float[Tensor, ""]:
        """Take one optimiser step; returns the loss."""
        with torch.autocast("cpu", torch.bfloat16):
            verdict = self.judge(images.contiguous(memory_format=torch.channels_last))
        value = loss(verdict, *answers)
        value.backward()
        self.optimiser.step(self.training.rate(self.images))
        self.step += 1
        return value.detach()

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to go on."""
        groups = {"judge": self.judge.state_dict(), "optimiser": self.optimiser.state()}
        tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        return Checkpoint(self.step, tensors, {"nouns": [*self.judge.lexicon.numbers]})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises UserError if it learnt other nouns."""
        if checkpoint.facts["nouns"] != [*self.judge.lexicon.numbers]:
            raise UserError("the judge was started with other objects; go on with the same, or remove its folder")
        groups: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
        for path, tensor in checkpoint.tensors.items():
            group, name = path.split(".", 1)
            groups[group][name] = tensor
        self.judge.load_state_dict(groups["judge"])
        self.optimiser.restore(groups["optimiser"])
        self.step = checkpoint.step


def train(training: JudgeTraining, pool: Pool, lexicon: Lexicon, folder: Path) -> Judge:
    """Train in `folder` until the images are spent, going on where it was; returns the judge, ready to judge.

    Raises UserError if the folder holds a judge of other nouns, or the pictures show others than the lexicon has.
    """
    if missing := {entry.noun for entry in pool.entries} - lexicon.numbers.keys():
        raise UserError(f"the pictures show {min(missing)}, which is not among the objects; give the folder they show")
    trainer = Trainer(training, lexicon)
    if saved := checkpoints.newest(folder):
        trainer.restore(saved)
        logger.info("resumed after %d images", trainer.images)
    # A resumed training sees new pictures, not the ones it has seen.
    generator = torch.Generator().manual_seed(training.seed * 1_000_003 + trainer.step + 1)
    lessons = Lessons(training, pool, lexicon, generator)
    with tqdm(total=training.images, initial=trainer.images, desc="training the judge", unit="img") as bar:
        while not trainer.finished:
            value = trainer.advance(*lessons.draw(trainer.small))
            bar.set_postfix(loss=f"{value.item():.3f}", refresh=False)
            bar.update(training.batch)
            if trainer.images % training.checkpoint_every < training.batch or trainer.finished:
                checkpoints.write(folder, trainer.checkpoint())
    return trainer.judge.eval().requires_grad_(False)


@click.command()
@click.option(
    "--objects",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The folder of GLB files that the model is taught.",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The folder of the model's run, with its pictures.",
)
@click.option("--images", type=click.IntRange(min=1), default=JudgeTraining.images, show_default=True)
@click.option("--solids/--no-solids", default=True, show_default=True, help="As the model was taught.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(objects: Path, run: Path, images: int, solids: bool, seed: int) -> None:
    """Train the judge of a run's model, into RUN/judge."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        lexicon = Lexicon.of(source.entry for source in pool.sources(objects, solids))
        loaded = pool.load(run / "pictures")
        trained = train(JudgeTraining(images=images, seed=seed), loaded, lexicon, run / "judge")
        judge.save(trained, run / "judge")
    except (UserError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {run / 'judge'}")


if __name__ == "__main__":
    main()
