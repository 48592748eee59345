"""Examine a model: python -m backend.prior.evaluate --model RUN/model --judge RUN/judge [--sheet PNG] [--write].

The scores in a model's card are what this prints. With the pictures of the model's run, the judge itself is examined
on what was kept from it.

Letters: B images, N nouns.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from backend.engine.cameras import CameraDistribution
from backend.engine.shading import LightDistribution
from backend.errors import UserError
from backend.guidance.views import Views
from backend.prior import judge, measured_colour, model, pool
from backend.prior.judge import EIGHTH, FEW, Judge, Verdict, off_course, ranks, right_answers
from backend.prior.lessons import EXAM_VIEWS, Split
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior
from backend.prior.photographer import Photographer
from backend.prior.pictures import save_captioned_sheet
from backend.prior.pool import Pool
from backend.prior.sample import sample
from backend.prior.wording import asked_for, every_other

SAMPLES = 1024
CARD = "README.md"
TABLE_BEGIN, TABLE_END = "<!-- scores -->", "<!-- /scores -->"

_EXAM_SEED = 424_242
_BATCH = 64


@dataclass(frozen=True)
class Scores:
    """Of the samples of a model. noun_first, noun_among_few, facing: shares in [0, 1]. colour: a mean CIEDE2000."""

    noun_first: float
    noun_among_few: float
    facing: float
    colour: float


_MEANINGS = {
    "noun_first": "right noun first",
    "noun_among_few": f"right noun among the first {FEW}",
    "facing": "facing right: front, back, left or right; of objects with a front",
    "colour": "CIEDE2000 from the colour asked for to that of the unlit picture, mean",
}


@dataclass(frozen=True)
class Task:
    """What a sample is asked for: a noun of a lexicon, by its number, and a colour, or None."""

    noun: int
    colour: str | None
    prompt: str


@dataclass(frozen=True)
class Marks:
    """How B samples did. rank: wrong nouns before the right one. off: radians; nan where an object has no front.
    colour: CIEDE2000; nan where none was asked for.
    """

    rank: Int[Tensor, " B"]
    off: Float[Tensor, " B"]
    colour: Float[Tensor, " B"]

    @property
    def scores(self) -> Scores:
        """Means over all samples that were asked for the like."""
        with_front, coloured = self.off[~self.off.isnan()], self.colour[~self.colour.isnan()]
        return Scores(
            noun_first=_share(self.rank < 1),
            noun_among_few=_share(self.rank < FEW),
            facing=_share(with_front < EIGHTH),
            colour=coloured.mean().item(),
        )


def table(scores: Scores) -> str:
    """The scores as a Markdown table."""
    shown = {name: _percent(value) for name, value in asdict(scores).items()} | {"colour": f"{scores.colour:.1f}"}
    rows = [f"| {_MEANINGS[name]} | {value} |" for name, value in shown.items()]
    return "\n".join(["| samples at random views | |", "|---|---|", *rows])


def tasks(lexicon: Lexicon, count: int, generator: torch.Generator) -> list[Task]:
    """`count` tasks that go through all nouns in a random order, every other one in a colour."""
    order = torch.randperm(len(lexicon.nouns), generator=generator).tolist()
    found = []
    for number in range(count):
        noun = order[number % len(order)]
        colour = every_other(number, lexicon.colours)
        found.append(Task(noun, colour, asked_for(lexicon.nouns[noun].noun, colour)))
    return found


def views(tasks: list[Task], generator: torch.Generator) -> Views:
    """Random cameras, and lights but where a colour is asked for: there the picture shows plain colours."""
    toward = torch.tensor([[0.0, 0.0, 1.0]]).expand(len(tasks), -1)
    lights = LightDistribution().sample(toward, generator)
    unlit = torch.tensor([task.colour is not None for task in tasks])
    lights = replace(lights, ambient=torch.where(unlit, 1.0, lights.ambient))
    return Views(CameraDistribution().sample(len(tasks), generator), lights)


def marked(
    verdict: Verdict,
    images: Float[Tensor, "B 3 H W"],
    tasks: list[Task],
    azimuth: Float[Tensor, " B"],
    lexicon: Lexicon,
) -> Marks:
    """How samples did that were to be seen from `azimuth`."""
    noun = torch.tensor([task.noun for task in tasks])
    has_front = torch.tensor([lexicon.nouns[task.noun].has_front for task in tasks])
    off = off_course(verdict.azimuth, azimuth).masked_fill(~has_front, torch.nan)
    colours = [
        measured_colour.difference(measured_colour.shown(image, measured_colour.foreground(image)), task.colour)
        if task.colour
        else math.nan
        for image, task in zip(images, tasks, strict=True)
    ]
    return Marks(ranks(verdict.nouns, right_answers(lexicon)[noun]), off, torch.tensor(colours))


@torch.no_grad()
def examine(prior: Prior, net: Judge, count: int, seed: int, sheet: Path | None = None) -> Scores:
    """Measure `count` samples of a model: 25 DDIM steps, cfg 3. sheet: a PNG of them to write."""
    generator = torch.Generator().manual_seed(seed)
    asked = tasks(net.lexicon, count, generator)
    images, azimuths = [], []
    with tqdm(total=count, desc="sampling", unit="img") as bar:
        for begin in range(0, count, _BATCH):
            part = asked[begin : begin + _BATCH]
            seen_from = views(part, generator)
            azimuths.append(seen_from.cameras.azimuth)
            images.append(sample(prior, [task.prompt for task in part], generator, views=seen_from))
            bar.update(len(part))
    together = torch.cat(images)
    verdict = net(together)
    marks = marked(verdict, together, asked, torch.cat(azimuths), net.lexicon)
    if sheet:
        save_captioned_sheet(together, remarks(asked, verdict, marks, net.lexicon), sheet, columns=16)
    return marks.scores


def remarks(tasks: list[Task], verdict: Verdict, marks: Marks, lexicon: Lexicon) -> list[tuple[str, str]]:
    """Two lines for every sample: what was asked for, and what was seen, with its rank and how far it is off."""
    found = []
    for place, task in enumerate(tasks):
        first = lexicon.nouns[int(verdict.nouns[place].argmax())].noun
        rank, off, colour = int(marks.rank[place]), marks.off[place].item(), marks.colour[place].item()
        notes = ["right" if rank == 0 else f"{first} ({rank + 1})"]
        notes += [] if math.isnan(off) else [f"{math.degrees(off):.0f}\N{DEGREE SIGN}"]
        notes += [] if math.isnan(colour) else [f"{colour:.0f}"]
        found.append((task.prompt, ", ".join(notes)))
    return found


@dataclass(frozen=True)
class Exam:
    """How a judge does on pictures that it has never seen, as shares in [0, 1].

    first, few: single pictures whose right noun comes first, and among the first few; ..._together: the same of
    EXAM_VIEWS pictures of an object together. facing: single pictures of objects with a front.
    """

    first: float
    few: float
    first_together: float
    few_together: float
    facing: float


@torch.no_grad()
def examine_judge(net: Judge, pool: Pool) -> dict[str, Exam]:
    """The exams of `net` on what `train_judge` kept from it of `pool`."""
    split = Split.of(pool)
    photographer = Photographer(pool, torch.Generator().manual_seed(_EXAM_SEED))
    return {
        f"{name}, {kind}": _exam(net, pool, index, shoot)
        for name, index in (("new views", split.new_views), ("new objects", split.new_objects))
        for kind, shoot in (("textured", photographer.textured), ("untextured", photographer.untextured))
    }


def _exam(
    net: Judge, pool: Pool, index: Int[Tensor, " m"], shoot: Callable[[Int[Tensor, " B"]], Float[Tensor, "B 3 H W"]]
) -> Exam:
    verdicts = [net(shoot(part)) for part in tqdm(index.split(_BATCH), desc="examining the judge", unit="batch")]
    nouns = torch.cat([verdict.nouns for verdict in verdicts])
    azimuth = torch.cat([verdict.azimuth for verdict in verdicts])
    entries = [pool.entries[number] for number in pool.entry[index].tolist()]
    right = right_answers(net.lexicon)[[net.lexicon.numbers[entry.noun] for entry in entries]]
    single = ranks(nouns, right)
    together = ranks(nouns.unflatten(0, (-1, EXAM_VIEWS)).mean(1), right[::EXAM_VIEWS])
    has_front = torch.tensor([entry.has_front for entry in entries])
    off = off_course(azimuth, pool.cameras.azimuth[index])[has_front]
    return Exam(
        _share(single < 1),
        _share(single < FEW),
        _share(together < 1),
        _share(together < FEW),
        _share(off < EIGHTH),
    )


def exam_table(exams: dict[str, Exam]) -> str:
    """The exams as a Markdown table."""
    head = f"| the judge's exam | first | of {FEW} | first, {EXAM_VIEWS} views | of {FEW} | facing |"
    rows = [" | ".join([f"| {name}", *map(_percent, asdict(exam).values())]) + " |" for name, exam in exams.items()]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _share(right: Tensor) -> float:
    """The share of true entries; nan if there are none."""
    return right.float().mean().item()


def write_card(folder: Path, scores: Scores, shown: str) -> None:
    """Keep the scores beside the model and what is `shown` of them in its card. Raises UserError if it has no card."""
    card = folder / CARD
    try:
        before, _, rest = card.read_text(encoding="utf-8").partition(TABLE_BEGIN)
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no card to write into; leave --write out, or add a README.md") from error
    after = rest.partition(TABLE_END)[2]
    (folder / "scores.json").write_text(json.dumps(asdict(scores), indent=2) + "\n", encoding="utf-8")
    card.write_text(f"{before}{TABLE_BEGIN}\n{shown}\n{TABLE_END}{after}", encoding="utf-8")


@click.command()
@click.option("--model", "folder", type=click.Path(path_type=Path, exists=True), default=model.BUILTIN)
@click.option(
    "--judge",
    "own",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The judge's folder, where it does not lie in the model's.",
)
@click.option("--samples", type=click.IntRange(min=2), default=SAMPLES, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="A PNG of the samples, to be looked at.")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The pictures of the model's run, to examine the judge on what was kept from it, too.",
)
@click.option("--write", is_flag=True, help="Also write the scores into the model's card.")
def main(
    folder: Path, own: Path | None, samples: int, seed: int, sheet: Path | None, pictures: Path | None, write: bool
) -> None:
    """Print the scores of a model, and of its judge."""
    try:
        prior, net = model.load(folder), judge.load(own or folder)
        scores = examine(prior, net, samples, seed, sheet)
        exams = examine_judge(net, pool.load(pictures)) if pictures else {}
        shown = "\n\n".join([table(scores), *([exam_table(exams)] if exams else [])])
        click.echo(shown)
        if write:
            write_card(folder, scores, shown)
    except (UserError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
