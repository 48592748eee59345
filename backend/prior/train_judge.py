"""Train the judge: python -m backend.prior.train_judge --objects FOLDER --run RUN.

It learns from the pictures of a run of `train`, less some objects and views that it is examined on, and lies in
RUN/judge afterwards. Stopped, it goes on where it was.
"""

import logging
from pathlib import Path

import click
import torch
from tqdm import tqdm

from backend import checkpoints
from backend.errors import UserError
from backend.prior import judge, pool
from backend.prior.judge import Judge
from backend.prior.judge_training import JudgeTraining, Trainer
from backend.prior.lessons import Lessons
from backend.prior.lexicon import Lexicon
from backend.prior.pool import Pool

logger = logging.getLogger(__name__)


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
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="What the model is taught, as backend.prior.train takes it.",
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
