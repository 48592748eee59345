"""Train the built-in model: python -m backend.prior.train --objects FOLDER --run RUN --images N.

A run lives in a folder: pictures of the objects, checkpoints, sample sheets and the model so far. Stopped, it goes on
where it was. All its schedules count images, so that it comes out alike on any machine. To train a finished run
further, give it more images, or, where its folder is gone, start another one from its model.

Letters: B images.
"""

import copy
import logging
import math
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

import click
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.errors import UserError
from backend.guidance.rigs import join_views
from backend.prior import model, network, pool
from backend.prior.catalogue import Entry
from backend.prior.drawing import Batch, Source, World
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior
from backend.prior.network import Architecture
from backend.prior.optimiser import Optimiser
from backend.prior.pictures import save_sheet
from backend.prior.pool import RIG, PictureSource
from backend.prior.sample import sample
from backend.prior.synonyms import COLOUR_WORDS
from backend.prior.wording import all_words

logger = logging.getLogger(__name__)

_EMBEDDINGS = "text_encoder.embeddings.token_embedding.weight"


@dataclass(frozen=True)
class Training:
    """How a model is trained. images: of all sessions of a run together; the first `small` of them at half the size.

    learning_rate: of matrices, under Muon; `vector_rate`: of everything else, under AdamW. rigs: the share of batches
    in which every RIG pictures show one object. pictures: of each object, taken before training. ..._every: in images.
    """

    images: int
    size: int = 64
    small: int = 300_000
    batch: int = 48
    rigs: float = 0.5
    learning_rate: float = 2e-3
    vector_rate: float = 1e-3
    warm_up: int = 10_000
    cool_down: float = 0.3
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.9995
    unconditional: float = 0.1
    pictures: int = 32
    checkpoint_every: int = 10_000
    sheet_every: int = 100_000
    seed: int = 0
    architecture: Architecture = field(default_factory=Architecture)

    def __post_init__(self) -> None:
        if self.images <= 0:
            raise ValueError(f"images must be positive, not {self.images}")
        if self.batch % RIG or self.pictures % RIG or not self.batch or not self.pictures:
            raise ValueError(f"batch and pictures must be multiples of {RIG}, not {self.batch} and {self.pictures}")

    def rate(self, images: int) -> float:
        """Share of the learning rate after `images`: warm-up, a plateau, and a linear cool-down to zero at the end."""
        left = max(0.0, 1 - images / self.images)
        return min(1.0, (images + self.batch) / self.warm_up, left / self.cool_down)


class Trainer:
    """A model under training, its moving average, and how far they are."""

    def __init__(self, training: Training, words: Sequence[str], device: torch.device) -> None:
        self.training, self.words, self.device = training, list(words), device
        self.prior = network.build(training.size, words, training.architecture, training.seed)
        self.average = copy.deepcopy(self.prior)
        for module in (self.prior.modules(), self.average.modules()):
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.average.modules().eval().requires_grad_(False)
        self.joint = join_views(self.prior.unet)
        rates = training.learning_rate, training.vector_rate
        self.optimiser = Optimiser(self.prior.modules(), *rates, training.weight_decay)
        self.abar = self.prior.scheduler.alphas_cumprod.to(device)
        self.step = self.images = 0

    def begin_with(self, folder: Path) -> None:
        """Take over the weights of a model, and what it makes of the words that both know.

        Raises ValueError if it is another network.
        """
        saved = model.load(folder)
        weights = saved.modules().state_dict()
        for prior in (self.prior, self.average):
            weights[_EMBEDDINGS] = embeddings_for(prior, saved)
            try:
                prior.modules().load_state_dict(weights)
            except RuntimeError as error:
                raise ValueError(f"the model in {folder} is another network; start without it") from error

    @property
    def finished(self) -> bool:
        return self.images >= self.training.images

    @property
    def small(self) -> bool:
        """Whether pictures are still at half their size."""
        return self.images < self.training.small

    def advance(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Take one optimiser step on `batch`; returns the loss. Raises FloatingPointError if it is not finite."""
        dropped = torch.rand(len(batch.captions) // batch.rig, generator=generator) < self.training.unconditional
        dropped = dropped.repeat_interleave(batch.rig)
        captions = ["" if drop else text for text, drop in zip(batch.captions, dropped.tolist(), strict=True)]
        t = torch.randint(len(self.abar), (len(dropped) // batch.rig,), generator=generator)
        self.joint.views = batch.rig
        loss = v_loss(self.prior, batch, captions, t.repeat_interleave(batch.rig), self.abar, generator)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step}; train with a lower learning rate")
        loss.backward()
        nn.utils.clip_grad_norm_(self.prior.modules().parameters(), self.training.clip)
        self.optimiser.step(self.training.rate(self.images))
        decay = min(self.training.ema, (1 + self.step) / (10 + self.step))
        averaged: list[Tensor] = list(self.average.modules().parameters())
        torch._foreach_lerp_(averaged, [p.detach() for p in self.prior.modules().parameters()], 1 - decay)
        self.step += 1
        self.images += len(batch.captions)
        return loss.detach()

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to go on."""
        groups = {
            "prior": self.prior.modules().state_dict(),
            "average": self.average.modules().state_dict(),
            "optimiser": self.optimiser.state(),
        }
        tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        return Checkpoint(self.step, tensors, {"images": self.images, "words": self.words, **_shape(self.training)})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises ValueError if it is of another network or learnt other words."""
        for name, value in {"words": self.words, **_shape(self.training)}.items():
            if checkpoint.facts.get(name) != value:
                what = "objects, or words for them" if name == "words" else name
                raise ValueError(f"the run was started with other {what}; go on with the same, or start a new one")
        groups: dict[str, dict[str, Tensor]] = {"prior": {}, "average": {}, "optimiser": {}}
        for path, tensor in checkpoint.tensors.items():
            group, name = path.split(".", 1)
            groups[group][name] = tensor.to(self.device)
        self.prior.modules().load_state_dict(groups["prior"])
        self.average.modules().load_state_dict(groups["average"])
        self.optimiser.restore(groups["optimiser"])
        self.step, self.images = checkpoint.step, checkpoint.facts["images"]


def _shape(training: Training) -> dict[str, object]:
    """What a checkpoint and the run that resumes it must agree on, as JSON has it."""
    architecture = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(training.architecture).items()}
    return {"size": training.size, "architecture": architecture}


def v_loss(
    prior: Prior,
    batch: Batch,
    captions: list[str],
    t: Int[Tensor, " B"],
    abar: Float[Tensor, " T"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Mean squared error of the predicted velocity v = sqrt(abar) eps - sqrt(1 - abar) x at timesteps t.

    Salimans and Ho, Progressive Distillation (arXiv 2202.00512), section 4.
    """
    device = abar.device
    clean = nn.functional.pixel_unshuffle(2 * batch.images.to(device) - 1, network.FOLD)
    clean = clean.contiguous(memory_format=torch.channels_last)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    tokens, views = prior.tokens(captions).to(device), batch.views.features.to(device)
    return velocity_error(prior, clean, noise, t.to(device), tokens, views, abar)


def embeddings_for(prior: Prior, saved: Prior) -> Float[Tensor, "w D"]:
    """The embeddings of all words that `prior` knows: those of `saved`, and its own of words that are new to that."""
    mine, other = (one.text_encoder.get_input_embeddings().weight.detach() for one in (prior, saved))
    if mine.shape[1] != other.shape[1]:
        return other  # of another network, which is refused
    known = saved.tokenizer.get_vocab()
    shared = {place: known[word] for word, place in prior.tokenizer.get_vocab().items() if word in known}
    found = mine.clone()
    found[list(shared)] = other[list(shared.values())].to(found)
    return found


def velocity_error(
    prior: Prior,
    clean: Float[Tensor, "B c h w"],
    noise: Float[Tensor, "B c h w"],
    t: Int[Tensor, " B"],
    tokens: Int[Tensor, "B L"],
    views: Float[Tensor, "B k"],
    abar: Float[Tensor, " T"],
) -> Float[Tensor, ""]:
    """`v_loss` of folded pictures, with all of it on one device: nothing here waits for a GPU."""
    signal, spread = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
    with torch.autocast(abar.device.type, torch.bfloat16), attention_for(abar.device):
        text = prior.text_encoder(tokens).last_hidden_state
        predicted = prior.unet(signal * clean + spread * noise, t, text, class_labels=views).sample
    return (predicted.float() - (signal * noise - spread * clean)).square().mean()


def attention_for(device: torch.device) -> AbstractContextManager[None]:
    """The fused attention's backward pass is slow on CPUs for this few positions; plain products are not."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


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
    colours = cycle(COLOUR_WORDS)
    chosen = nouns[:: max(1, len(nouns) // count)][:count]
    return [f"a {next(colours)} {noun}" if index % 2 else f"a {noun}" for index, noun in enumerate(chosen)]


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
