"""Measure a model and its judge: python -m backend.prior.evaluate [--write].

The scores in a model's card are what this prints.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from torch import Tensor
from tqdm import tqdm

from backend.engine.names import VIEWS, View
from backend.prior import dataset, judge, model
from backend.prior.captions import VIEW_PHRASES, with_articles
from backend.prior.judge import Judge, judging_views
from backend.prior.model import Prior
from backend.prior.render import trace
from backend.prior.sample import sample
from backend.prior.shapes import SHAPES, VARIATIONS
from backend.prior.train_judge import JUDGES_WORLD, exposed, without_texture

SAMPLES = 512
INSTANCES = 2
_EXAM_SEED = 424_242
TABLE_BEGIN, TABLE_END = "<!-- scores -->", "<!-- /scores -->"


@dataclass(frozen=True)
class Scores:
    """Shares in [0, 1].

    judge_*: the judge on held-out renders of known objects; `judge_caption` and `judge_grey` from
    eight views of each object, `judge_single_*` from one. sample_*: the model's samples as the judge
    sees them. above_from_front: samples asked for "from above" and "front view" that the judge puts
    on the right side of these two; front_from_back: likewise, for objects that have a front.
    """

    judge_caption: float
    judge_grey: float
    judge_single_object: float
    judge_single_colour: float
    sample_object: float
    sample_colour: float
    sample_caption: float
    above_from_front: float
    front_from_back: float


_MEANINGS = {
    "judge_caption": "judge: right caption of all object x colour ones, 8 views of a held-out object",
    "judge_grey": "judge: right object from 8 untextured views",
    "judge_single_object": "judge: right object from a single picture",
    "judge_single_colour": "judge: right colour from a single picture",
    "sample_object": "samples: right object",
    "sample_colour": "samples: right colour",
    "sample_caption": "samples: right object and colour",
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
    colour = torch.arange(len(net.vocabulary.colours)).repeat(INSTANCES)
    cameras = judging_views().tiled(len(colour))
    plain = torch.zeros(len(cameras.azimuth), dtype=torch.long)
    marks: dict[str, list[Tensor]] = {name: [] for name in _MEANINGS if name.startswith("judge_")}
    shapes = [shape for shape in SHAPES if shape.name in net.vocabulary.objects]
    for answer, shape in enumerate(tqdm(shapes, desc="examining the judge", unit="object")):
        variation = torch.rand(len(colour), VARIATIONS, generator=generator).repeat_interleave(8, dim=0)
        lights = JUDGES_WORLD.lights.sample(cameras.backward, generator)
        layers = trace(shape, variation, plain, cameras, lights, judge.SIZE)
        textured = net(exposed(dataset.paint(layers, colour.repeat_interleave(8), JUDGES_WORLD, generator), generator))
        grey = net(exposed(without_texture(layers, generator), generator))
        caption = answer * len(net.vocabulary.colours) + colour
        marks["judge_caption"].append(textured.together().captions.flatten(1).argmax(-1) == caption)
        marks["judge_grey"].append(grey.together().objects.argmax(-1) == answer)
        marks["judge_single_object"].append(textured.objects.argmax(-1) == answer)
        marks["judge_single_colour"].append(textured.colours.argmax(-1) == colour.repeat_interleave(8))
    return {name: share(torch.cat(marked)) for name, marked in marks.items()}


@torch.no_grad()
def judge_samples(prior: Prior, net: Judge, seed: int) -> dict[str, float]:
    """Scores of SAMPLES samples that go through all captions (25 DDIM steps, cfg 3)."""
    generator = torch.Generator().manual_seed(seed)
    objects, colours = net.vocabulary.objects, net.vocabulary.colours
    captions = torch.arange(len(objects) * len(colours))
    asked = captions.repeat(-(-SAMPLES // len(captions)))[:SAMPLES]
    shape, colour = asked // len(colours), asked % len(colours)
    prompts = [
        with_articles(f"{{article}} {colours[c]} {objects[s]}")
        for s, c in zip(shape.tolist(), colour.tolist(), strict=True)
    ]
    seen = net(sample(prior, prompts, generator))
    right_object, right_colour = seen.objects.argmax(-1) == shape, seen.colours.argmax(-1) == colour
    return {
        "sample_object": share(right_object),
        "sample_colour": share(right_colour),
        "sample_caption": share(right_object & right_colour),
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
    (folder / "scores.json").write_text(json.dumps(asdict(scores), indent=2) + "\n")
    card = folder / "README.md"
    before, _, rest = card.read_text().partition(TABLE_BEGIN)
    after = rest.partition(TABLE_END)[2]
    card.write_text(f"{before}{TABLE_BEGIN}\n{table(scores)}\n{TABLE_END}{after}")


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
