"""Measure a model and its judge: python -m backend.prior.evaluate [--write].

The scores in a model's card are what this prints.
"""

import json
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import click
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from backend.engine.names import VIEWS, View
from backend.prior import dataset, judge, model
from backend.prior.captions import VIEW_PHRASES, with_articles
from backend.prior.judge import Judge, judging_views
from backend.prior.model import Prior
from backend.prior.render import trace
from backend.prior.sample import sample
from backend.prior.shapes import SHAPES, VARIATIONS, Shape
from backend.prior.train_judge import JUDGES_WORLD, exposed, without_texture

SAMPLES = 512
INSTANCES = 2
_EXAM_SEED = 424_242
TABLE_BEGIN, TABLE_END = "<!-- scores -->", "<!-- /scores -->"


@dataclass(frozen=True)
class Scores:
    """Shares in [0, 1].

    judge_*: the judge on held-out renders of known objects; `judge_caption`, `judge_patterned` and
    `judge_grey` from eight views of each object, `judge_single_*` from one. sample_*: the model's samples
    as the judge sees them. Objects have patterns where the name says so, and only there.
    above_from_front: samples asked for "from above" and "front view" that the judge puts on the right side
    of these two; front_from_back: likewise, for objects that have a front.
    """

    judge_caption: float
    judge_patterned: float
    judge_grey: float
    judge_single_object: float
    judge_single_colour: float
    judge_single_pattern: float
    sample_object: float
    sample_colour: float
    sample_caption: float
    sample_pattern: float
    above_from_front: float
    front_from_back: float


_MEANINGS = {
    "judge_caption": "judge: right caption of all object x colour ones, 8 views of a held-out object",
    "judge_patterned": "judge: right caption of all pattern x object x colour ones, 8 views of a held-out object",
    "judge_grey": "judge: right object from 8 untextured views",
    "judge_single_object": "judge: right object from a single picture",
    "judge_single_colour": "judge: right colour from a single picture",
    "judge_single_pattern": "judge: right pattern from a single picture",
    "sample_object": "samples: right object",
    "sample_colour": "samples: right colour",
    "sample_caption": "samples: right object and colour",
    "sample_pattern": "samples: right pattern, where one is asked for",
    "above_from_front": 'samples: "from above" told from "front view"',
    "front_from_back": 'samples: "front view" told from "back view", objects with a front',
}


def share(right: Tensor) -> float:
    """The share of true entries."""
    return right.float().mean().item()


def table(scores: Scores) -> str:
    """The scores as a Markdown table."""
    rows = [f"| {_MEANINGS[name]} | {100 * value:.1f} % |" for name, value in asdict(scores).items()]
    return "\n".join(["| measured | share |", "|---|---|", *rows])


@torch.no_grad()
def examine(net: Judge) -> dict[str, float]:
    """Scores of the judge on renders that it has never seen: every caption INSTANCES times, from its eight views."""
    generator = torch.Generator().manual_seed(_EXAM_SEED)
    marks: dict[str, list[Tensor]] = {name: [] for name in _MEANINGS if name.startswith("judge_")}
    shapes = [shape for shape in SHAPES if shape.name in net.vocabulary.objects]
    for answer, shape in enumerate(tqdm(shapes, desc="examining the judge", unit="object")):
        for pattern in range(1 + len(net.vocabulary.patterns) if shape.patterns else 1):
            for name, right in _examined(net, answer, shape, pattern, generator).items():
                marks[name].append(right)
    return {name: share(torch.cat(marked)) for name, marked in marks.items()}


def _examined(net: Judge, answer: int, shape: Shape, pattern: int, generator: torch.Generator) -> dict[str, Tensor]:
    """What the judge gets right of one object with one pattern (0: plain) in all colours."""
    colour = torch.arange(len(net.vocabulary.colours)).repeat(INSTANCES)
    cameras = judging_views().tiled(len(colour))
    variation = torch.rand(len(colour), VARIATIONS, generator=generator).repeat_interleave(8, dim=0)
    lights = JUDGES_WORLD.lights.sample(cameras.backward, generator)
    patterns = torch.full((8 * len(colour),), pattern)
    layers = trace(shape, variation, patterns, cameras, lights, judge.SIZE)
    textured = net(exposed(dataset.paint(layers, colour.repeat_interleave(8), JUDGES_WORLD, generator), generator))
    together = textured.together()
    right = together.captions.flatten(1).argmax(-1) == answer * len(net.vocabulary.colours) + colour
    if pattern:
        return {
            "judge_patterned": right & (together.patterns.argmax(-1) == pattern),
            "judge_single_pattern": textured.patterns.argmax(-1) == pattern,
        }
    grey = net(exposed(without_texture(layers, generator), generator))
    return {
        "judge_caption": right,
        "judge_grey": grey.together().objects.argmax(-1) == answer,
        "judge_single_object": textured.objects.argmax(-1) == answer,
        "judge_single_colour": textured.colours.argmax(-1) == colour.repeat_interleave(8),
    }


@torch.no_grad()
def judge_samples(prior: Prior, net: Judge, seed: int) -> dict[str, float]:
    """Scores of SAMPLES samples that go through all plain captions, and of one for each with a pattern.

    25 DDIM steps, cfg 3.
    """
    generator = torch.Generator().manual_seed(seed)
    words = net.vocabulary
    plain = [f"{{article}} {colour} {name}" for name in words.objects for colour in words.colours]
    prompts = [with_articles(text) for text in islice(cycle(plain), SAMPLES)]
    right = _right(net, sample(prior, prompts, generator), prompts)
    patterned = [
        f"a {pattern} {colour} {shape.name}"
        for shape in SHAPES
        if shape.patterns and shape.name in words.objects
        for pattern in words.patterns
        for colour in words.colours
    ]
    return {
        "sample_object": share(right["shape"]),
        "sample_colour": share(right["colour"]),
        "sample_caption": share(right["shape"] & right["colour"]),
        "sample_pattern": share(_right(net, sample(prior, patterned, generator), patterned)["pattern"]),
    }


def _right(net: Judge, images: Float[Tensor, "B 3 H W"], prompts: list[str]) -> dict[str, Bool[Tensor, " B"]]:
    """For each field of `Subject`, in which images the judge sees what the prompts ask for."""
    seen = net(images)
    asked = [net.vocabulary.knows(prompt).subject for prompt in prompts]
    answers = {
        "shape": (seen.objects, net.vocabulary.objects),
        "colour": (seen.colours, net.vocabulary.colours),
        "pattern": (seen.patterns, (None, *net.vocabulary.patterns)),
    }
    return {
        kind: scores.argmax(-1) == torch.tensor([names.index(getattr(subject, kind)) for subject in asked])
        for kind, (scores, names) in answers.items()
    }


@torch.no_grad()
def told_apart(prior: Prior, net: Judge, objects: list[str], first: View, second: View, seed: int) -> float:
    """The share of samples, half of them asked for in each view, that the judge puts on the right side of the two."""
    generator = torch.Generator().manual_seed(seed)
    colours = net.vocabulary.colours
    right = []
    for asked, other in ((first, second), (second, first)):
        prompts = [
            f"{colours[(5 * i) % len(colours)]} {name}, {VIEW_PHRASES[asked][0]}" for i, name in enumerate(objects)
        ]
        views = net(sample(prior, prompts, generator)).views
        right.append(views[:, VIEWS.index(asked)] > views[:, VIEWS.index(other)])
    return share(torch.cat(right))


def evaluate(folder: Path, seed: int = 0) -> Scores:
    """Measure the model in `folder` with the judge that lies beside it."""
    prior, net = model.load(folder), judge.load(folder)
    known = [shape for shape in SHAPES if shape.name in net.vocabulary.objects]
    everything = [shape.name for shape in known] * 4
    with_front = [shape.name for shape in known if shape.has_front] * 8
    return Scores(
        **examine(net),
        **judge_samples(prior, net, seed),
        above_from_front=told_apart(prior, net, everything, "above", "front", seed),
        front_from_back=told_apart(prior, net, with_front, "front", "back", seed),
    )


def write_card(folder: Path, scores: Scores) -> None:
    """Keep the scores beside the model and put their table into its card."""
    (folder / "scores.json").write_text(json.dumps(asdict(scores), indent=2) + "\n", "utf-8")
    card = folder / "README.md"
    before, _, rest = card.read_text("utf-8").partition(TABLE_BEGIN)
    after = rest.partition(TABLE_END)[2]
    card.write_text(f"{before}{TABLE_BEGIN}\n{table(scores)}\n{TABLE_END}{after}", "utf-8")


@click.command()
@click.option("--model", "folder", type=click.Path(path_type=Path, exists=True), default=model.BUILTIN)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--write", is_flag=True, help="Also write the scores into the model's card.")
def main(folder: Path, seed: int, write: bool) -> None:
    """Print the scores of a model and its judge."""
    try:
        scores = evaluate(folder, seed)
    except FileNotFoundError as error:
        raise click.BadParameter(str(error)) from error
    click.echo(table(scores))
    if write:
        write_card(folder, scores)


if __name__ == "__main__":
    main()
