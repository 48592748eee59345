"""Train the built-in model: python -m backend.prior.train --objects FOLDER --run RUN --images N.

A run lives in a folder: pictures of the objects, checkpoints, sample sheets and the model so far. Stopped, it goes on
where it was. All its schedules count images, so that it comes out alike on any machine. To train a finished run
further, give it more images, or, where its folder is gone, start another one from its model.
"""

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from tqdm import tqdm

from backend import checkpoints
from backend.errors import UserError
from backend.prior import model, pool
from backend.prior.catalogue import Entry
from backend.prior.drawing import Source, World
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior
from backend.prior.pictures import save_sheet
from backend.prior.pool import RIG, PictureSource
from backend.prior.sample import sample
from backend.prior.synonyms import COLOUR_WORDS
from backend.prior.training import Trainer, Training
from backend.prior.wording import all_words, asked_for, every_other

logger = logging.getLogger(__name__)


def train(
    training: Training, sources: Sequence[PictureSource], device: torch.device, run: Path, start: Path | None = None
) -> Prior:
    """Train in the folder `run` until the images are spent, going on where it was; returns the moving average.

    start: the folder of a model whose weights a new run begins with. Raises ValueError if the run or that model does
    not fit, FileNotFoundError if there is no such model, UserError if there are no fitting pictures to be had.
    """
    # What does not fit is refused before hours of taking pictures, and before they are among those of the run.
    trainer = Trainer(training, all_words(source.entry for source in sources), device)
    saved = checkpoints.newest(run)
    if saved:
        trainer.restore(saved)
        logger.info("resumed at step %d, after %d images", trainer.step, trainer.images)
    elif start:
        trainer.begin_with(start)
    pictures = run / "pictures"
    pool.make(pictures, sources, training.pictures // RIG, training.size, training.seed)
    loaded = pool.load(pictures)
    if all_words(loaded.entries) != trainer.words:
        raise UserError(f"{pictures} holds other objects, too, or knows them by other words; remove it and start again")
    # A resumed run sees new pictures, not the ones it has seen.
    generator = torch.Generator().manual_seed(training.seed * 1_000_003 + trainer.step)
    lexicon = Lexicon.of(source.entry for source in sources)
    drawn = Source(loaded.to(device), World(), generator)
    loop(trainer, drawn, generator, run, sheet_prompts(loaded.entries), lexicon)
    return trainer.average


def loop(
    trainer: Trainer,
    source: Source,
    generator: torch.Generator,
    run: Path,
    prompts: Sequence[str],
    lexicon: Lexicon,
) -> None:
    """Advance until the images are spent, with checkpoints, models and sample sheets on the way and at the end."""
    training = trainer.training
    smooth = math.nan
    with tqdm(total=training.images, initial=trainer.images, desc="training", unit="img") as bar:
        while not trainer.finished:
            together = torch.rand((), generator=generator).item() < training.rigs
            batch = source.draw(training.batch, RIG if together else 1, trainer.small)
            loss = trainer.advance(batch, generator).item()
            smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
            bar.update(trainer.images - bar.n)
            bar.set_postfix(step=trainer.step, loss=f"{smooth:.4f}", refresh=False)
            if _passed(trainer, training.checkpoint_every) or trainer.finished:
                save_model(trainer.average, lexicon, run)  # first: the checkpoint at the end says that all is done
                checkpoints.write(run, trainer.checkpoint())
            if _passed(trainer, training.sheet_every) or trainer.finished:
                write_sheet(trainer, run, prompts)


def _passed(trainer: Trainer, every: int) -> bool:
    """Whether the last step went over a multiple of `every` images."""
    return trainer.images // every > (trainer.images - trainer.training.batch) // every


def save_model(prior: Prior, lexicon: Lexicon, run: Path) -> None:
    """Put a model and the words that it knows into RUN/model, in place of the one before it."""
    whole, beside, outdated = run / "model", run / "model.partial", run / "model.outdated"
    for leftover in (beside, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    model.save(prior, beside)
    lexicon.save(beside)
    if whole.exists():
        whole.rename(outdated)
    beside.rename(whole)
    shutil.rmtree(outdated, ignore_errors=True)


def sheet_prompts(entries: Sequence[Entry], count: int = 48) -> list[str]:
    """Prompts through all of the catalogue, every other one with a colour: the same each time."""
    nouns = sorted({entry.noun for entry in entries})
    chosen = nouns[:: max(1, len(nouns) // count)][:count]
    return [asked_for(noun, every_other(number, tuple(COLOUR_WORDS))) for number, noun in enumerate(chosen)]


def write_sheet(trainer: Trainer, run: Path, prompts: Sequence[str]) -> None:
    """A sample of the moving average for each prompt, the same noise and views every time."""
    images = sample(trainer.average, list(prompts), torch.Generator().manual_seed(0))
    save_sheet(images, run / f"sheet-{trainer.images:08d}.png", columns=12, zoom=1)


@click.command()
@click.option(
    "--objects",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="A folder of GLB files, with or without a catalogue.jsonl, or what backend.prior.packing made of one.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=2_500_000,
    show_default=True,
    help="All sessions of the run together.",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The run's folder; a run that is there goes on.",
)
@click.option(
    "--solids/--no-solids", default=True, show_default=True, help="Whether to teach pure shapes and patterns, too."
)
@click.option(
    "--start",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A model's folder, to begin a new run with.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(objects: Path, images: int, run: Path, solids: bool, start: Path | None, seed: int, device: str) -> None:
    """Teach a model the objects in a folder; with each checkpoint, RUN/model is the model so far."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if device == "cuda" and not torch.cuda.is_available():
        raise click.BadParameter("this machine or its torch build has no CUDA device; use --device cpu")
    try:
        train(Training(images=images, seed=seed), pool.sources(objects, solids), torch.device(device), run, start)
    except (UserError, ValueError, OSError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {run / 'model'}")


if __name__ == "__main__":
    main()
