"""Train the judge: python -m backend.prior.train_judge --minutes M --out FOLDER."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from backend.engine.names import VIEWS
from backend.engine.shading import BackgroundDistribution, LightDistribution
from backend.prior import dataset, judge
from backend.prior.dataset import Pool, World
from backend.prior.judge import Judge
from backend.prior.materials import COLOURS
from backend.prior.render import Layers
from backend.prior.vocabulary import Vocabulary

SEED_OFFSET = 7_777_777
"""Keeps the judge's pictures apart from those of a prior trained with the same seed."""

JUDGES_WORLD = World(
    lights=LightDistribution(ambient=(0.2, 0.95), jitter=0.6),
    backgrounds=BackgroundDistribution(level=(0.0, 1.0), tint=0.15),
)
"""Wider light and backgrounds than the prior's, so that the judge looks at the object."""


@dataclass(frozen=True)
class JudgeTraining:
    """How the judge is trained: for so many minutes or steps, whichever end first."""

    minutes: float = math.inf
    steps: float = math.inf
    batch: int = 128
    learning_rate: float = 2e-3
    pool: int = 44_000
    untextured: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.minutes, self.steps) == math.inf:
            raise ValueError("a training ends after some minutes or some steps; name one")

    def spent(self, step: int, seconds: float) -> float:
        """The share of the training that is over, 1 at its end."""
        return max(seconds / (60 * self.minutes), step / self.steps)


@dataclass(frozen=True)
class Answers:
    """The right answers for B pictures; colour -1 where the picture does not show one."""

    shape: Int[Tensor, " B"]
    colour: Int[Tensor, " B"]
    pattern: Int[Tensor, " B"]
    view: Int[Tensor, " B"]


def pictures(
    pool: Pool, index: Int[Tensor, " B"], untextured: Bool[Tensor, " B"], generator: torch.Generator
) -> tuple[Float[Tensor, "B 3 H W"], Answers]:
    """The pool's pictures at `index` in new colours, some `untextured`, as the judge is to see them."""
    colour = torch.randint(len(COLOURS), (len(index),), generator=generator)
    layers = pool.pictures(index)
    coloured = dataset.paint(layers, colour, JUDGES_WORLD, generator)
    images = torch.where(untextured[:, None, None, None], without_texture(layers, generator), coloured)
    answers = Answers(
        shape=pool.shape[index],
        colour=torch.where(untextured, -1, colour),
        pattern=torch.where(untextured, -1, pool.pattern[index]),
        view=torch.tensor([VIEWS.index(pool.view(i)) for i in index.tolist()]),
    )
    return exposed(images, generator), answers


def without_texture(layers: Layers, generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Pictures of the bare shapes, each in a grey of its own."""
    count = len(layers.stack)
    grey = 0.25 + 0.7 * torch.rand(count, 1, generator=generator)
    return layers.untextured(grey.expand(-1, 3), JUDGES_WORLD.backgrounds.sample(count, generator))


def exposed(images: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Images as a careless photographer takes them: gain, gamma, softness and noise at random."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    soft = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.lerp(images, soft, uniform(0.0, 1.0))
    images = (uniform(0.75, 1.25) * images.clamp(min=0)).pow(uniform(0.8, 1.25))
    return (images + uniform(0.0, 0.06) * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def loss(verdict: judge.Verdict, answers: Answers) -> Tensor:
    """Mean negative log-likelihood of the right answers; what a picture does not show does not count."""
    pairs = (
        (verdict.objects, answers.shape),
        (verdict.colours, answers.colour),
        (verdict.patterns, answers.pattern),
        (verdict.views, answers.view),
    )
    return sum((torch.nn.functional.nll_loss(row, right, ignore_index=-1) for row, right in pairs), torch.zeros(()))


def train(training: JudgeTraining) -> Judge:
    """Train a judge on pictures of its own."""
    generator = torch.Generator().manual_seed(training.seed + SEED_OFFSET)
    with tqdm(total=training.pool, desc="tracing", unit="img") as bar:
        pool = dataset.trace_pool(training.pool, judge.SIZE, JUDGES_WORLD, generator, progress=bar.update)
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        net = Judge(Vocabulary())
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.0, weight_decay=0.05, fused=True)
    begun = time.monotonic()
    with tqdm(desc="training the judge", unit="step") as bar:
        while (spent := training.spent(int(bar.n), time.monotonic() - begun)) < 1:
            optimiser.param_groups[0]["lr"] = training.learning_rate * min(1.0, (bar.n + 1) / 100) * (1 - spent)
            index = torch.randint(len(pool.shape), (training.batch,), generator=generator)
            untextured = torch.rand(training.batch, generator=generator) < training.untextured
            images, answers = pictures(pool, index, untextured, generator)
            with torch.autocast("cpu", torch.bfloat16):
                verdict = net(images.contiguous(memory_format=torch.channels_last))
            value = loss(verdict, answers)
            value.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            bar.set_postfix(loss=f"{value.item():.3f}", spent=f"{100 * spent:.0f} %", refresh=False)
            bar.update()
    return net.eval().requires_grad_(False)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=8, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The model's folder.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(minutes: float, out: Path, seed: int) -> None:
    """Train the judge that goes with a model, into the model's folder OUT."""
    net = train(JudgeTraining(minutes=minutes, seed=seed))
    judge.save(net, out)
    net.vocabulary.save(out)
    click.echo(f"wrote the judge to {out}")


if __name__ == "__main__":
    main()
