"""Train the built-in prior: python -m backend.prior.train --minutes M [--resume].

The run lives in a folder with checkpoints, sample sheets and, at its end, the finished model. The
learning rate is a function of the share of the minutes that is spent, so a run ends on time on any
machine, and a resumed one goes on where it was. To train a finished run further, resume it with
more minutes, or, where its folder is gone, start another one from its model.
"""

import copy
import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from backend import checkpoints
from backend.checkpoints import Checkpoint
from backend.prior import dataset, model
from backend.prior.captions import all_words, example_prompts
from backend.prior.dataset import Batch, Pool, World
from backend.prior.model import Prior
from backend.prior.pictures import save_sheet
from backend.prior.sample import sample
from backend.prior.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """How the prior is trained. `minutes` counts all sessions of a run together."""

    minutes: float
    size: int = 32
    batch: int = 64
    learning_rate: float = 1e-3
    warm_up_steps: int = 200
    cool_down: float = 0.5
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.9992
    unconditional: float = 0.1
    pool: int = 88_000
    seed: int = 0
    checkpoint_seconds: float = 120
    sheet_seconds: float = 480

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ValueError(f"minutes must be positive, not {self.minutes}")

    def rate(self, step: int, seconds: float) -> float:
        """Learning rate: warm-up by steps, a plateau, and a linear cool-down to zero as the minutes end."""
        left = max(0.0, 1 - seconds / (60 * self.minutes))
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up_steps, left / self.cool_down)


class Trainer:
    """A prior under training, its moving average, and how far they are."""

    def __init__(self, training: Training, device: torch.device, start: Path | None = None) -> None:
        """start: the folder of a model to go on from; None begins with random weights.

        Raises ValueError if that model is of another size or knows other words, FileNotFoundError if there is none.
        """
        self.training = training
        self.device = device
        self.prior = _started(training, start) if start else model.build(training.size, training.seed)
        self.average = copy.deepcopy(self.prior)
        for module in (self.prior.modules(), self.average.modules()):
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.average.modules().eval().requires_grad_(False)
        self.parameters = dict(self.prior.modules().named_parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=0.0, betas=(0.9, 0.99), weight_decay=training.weight_decay, fused=True
        )
        self.abar = self.prior.scheduler.alphas_cumprod.to(device)
        self.step = 0
        self.seconds = 0.0

    @property
    def finished(self) -> bool:
        return self.seconds >= 60 * self.training.minutes

    def advance(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Take one optimiser step on `batch`; returns the loss."""
        begun = time.monotonic()
        self.optimiser.param_groups[0]["lr"] = self.training.rate(self.step, self.seconds)
        dropped = torch.rand(len(batch.captions), generator=generator, device=self.device) < self.training.unconditional
        captions = ["" if drop else text for text, drop in zip(batch.captions, dropped.tolist(), strict=True)]
        loss = v_loss(self.prior, batch.images, captions, self.abar, generator)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.step}; resume with a lower learning rate"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.training.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        decay = min(self.training.ema, (1 + self.step) / (10 + self.step))
        averaged: list[Tensor] = list(self.average.modules().parameters())
        torch._foreach_lerp_(averaged, [p.detach() for p in self.parameters.values()], 1 - decay)
        self.step += 1
        self.seconds += time.monotonic() - begun
        return loss.detach()

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to go on."""
        tensors = {f"prior.{name}": tensor for name, tensor in self.prior.modules().state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.modules().state_dict().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{key}.{name}"] = value
        facts = {"seconds": self.seconds, "size": self.training.size, "words": all_words()}
        return Checkpoint(self.step, tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises ValueError if it is of another size or learnt other words."""
        if checkpoint.facts["size"] != self.training.size:
            raise ValueError(f"the run was started with --size {checkpoint.facts['size']}; resume it with the same")
        if checkpoint.facts["words"] != all_words():
            raise ValueError("the words of the captions have changed since the run was started; start a new one")
        groups: dict[str, dict[str, Tensor]] = {"prior": {}, "average": {}, "optimiser": {}}
        for name, tensor in checkpoint.tensors.items():
            group, rest = name.split(".", 1)
            groups[group][rest] = tensor.to(self.device)
        self.prior.modules().load_state_dict(groups["prior"])
        self.average.modules().load_state_dict(groups["average"])
        for name, tensor in groups["optimiser"].items():
            key, path = name.split(".", 1)
            parameter = self.parameters[path]
            # The fused optimiser walks parameter and moments in memory order: they must be laid out alike.
            laid_out = tensor if key == "step" else torch.empty_like(parameter).copy_(tensor)
            self.optimiser.state[parameter][key] = laid_out
        self.step, self.seconds = checkpoint.step, checkpoint.facts["seconds"]


def _started(training: Training, folder: Path) -> Prior:
    saved = model.load(folder)
    if saved.size != training.size:
        raise ValueError(f"the model in {folder} draws {saved.size} pixels; give --size {saved.size}")
    if Vocabulary.load(folder) != Vocabulary():
        raise ValueError(f"the model in {folder} knows other words than the captions hold; start without it")
    prior = model.build(training.size, training.seed)  # a new one does not remember the folder in its configuration
    prior.modules().load_state_dict(saved.modules().state_dict())
    return prior


def v_loss(
    prior: Prior,
    images: Float[Tensor, "B 3 H W"],
    captions: list[str],
    abar: Float[Tensor, " T"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Mean squared error of the predicted velocity v = sqrt(abar) eps - sqrt(1 - abar) x at uniform t.

    Salimans and Ho, Progressive Distillation (arXiv 2202.00512), section 4.
    """
    clean = (2 * images - 1).contiguous(memory_format=torch.channels_last)
    t = torch.randint(len(abar), (len(clean),), generator=generator, device=clean.device)
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    signal, spread = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
    with torch.autocast(clean.device.type, torch.bfloat16), attention_for(clean.device):
        predicted = prior.unet(signal * clean + spread * noise, t, prior.encode(captions)).sample
    return (predicted.float() - (signal * noise - spread * clean)).square().mean()


def attention_for(device: torch.device) -> AbstractContextManager[None]:
    """The fused attention's backward pass is slow on CPUs for this few positions; plain products are not."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def batches(pool: Pool, training: Training, world: World, generator: torch.Generator) -> Iterator[Batch]:
    """Newly coloured batches, without end."""
    while True:
        yield dataset.draw(pool, training.batch, world, generator)


def train(training: Training, device: torch.device, run: Path, resume: bool, start: Path | None = None) -> Prior:
    """Train in folder `run` until the minutes are spent; returns the moving average. start: see `Trainer`.

    Raises ValueError if `run` holds checkpoints and `resume` is false, or the other way round.
    """
    saved = checkpoints.newest(run)
    if resume and saved is None:
        raise ValueError(f"no usable checkpoint in {run}; start without --resume")
    if saved and not resume:
        raise ValueError(f"{run} holds a run at step {saved.step}; go on with --resume or choose another --run folder")
    trainer = Trainer(training, device, start)
    if saved:
        trainer.restore(saved)
        logger.info("resumed at step %d, %.1f minutes in", trainer.step, trainer.seconds / 60)
    # A resumed run sees new pictures, not the ones it has seen.
    generator = torch.Generator(device).manual_seed(training.seed * 1_000_003 + trainer.step)
    world = World()
    with tqdm(total=training.pool, desc="tracing", unit="img") as bar:
        pool = dataset.trace_pool(training.pool, training.size, world, generator, progress=bar.update)
    loop(trainer, batches(pool, training, world, generator), generator, run)
    return trainer.average


def loop(trainer: Trainer, source: Iterator[Batch], generator: torch.Generator, run: Path) -> None:
    """Advance until the minutes are spent, with checkpoints and sample sheets on the way and at the end."""
    training = trainer.training
    saved_at = sheet_at = trainer.seconds
    smooth = math.nan
    with tqdm(total=round(60 * training.minutes), initial=int(trainer.seconds), desc="training", unit="s") as bar:
        while not trainer.finished:
            loss = trainer.advance(next(source), generator).item()
            smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
            bar.update(int(trainer.seconds) - bar.n)
            bar.set_postfix(step=trainer.step, loss=f"{smooth:.4f}", refresh=False)
            if trainer.seconds - saved_at >= training.checkpoint_seconds:
                checkpoints.write(run, trainer.checkpoint())
                saved_at = trainer.seconds
            if trainer.seconds - sheet_at >= training.sheet_seconds:
                write_sheet(trainer, run)
                sheet_at = trainer.seconds
    checkpoints.write(run, trainer.checkpoint())
    write_sheet(trainer, run)


def write_sheet(trainer: Trainer, run: Path) -> None:
    """Two samples per object from the moving average, the same noise every time."""
    prompts = [prompt for prompt in example_prompts() for _ in range(2)]
    images = sample(trainer.average, prompts, torch.Generator(trainer.device).manual_seed(0))
    save_sheet(images, run / f"sheet-{trainer.step:06d}.png", columns=11)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), required=True, help="All sessions of the run.")
@click.option("--size", type=click.Choice(["32", "64"]), default="32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--run", type=click.Path(path_type=Path), default=Path("runs/prior"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the newest intact checkpoint.")
@click.option("--start", type=click.Path(path_type=Path, exists=True), help="A model's folder, to go on from it.")
def main(minutes: float, size: str, device: str, run: Path, seed: int, resume: bool, start: Path | None) -> None:
    """Train the built-in prior; the finished model is written to RUN/model."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if device == "cuda" and not torch.cuda.is_available():
        raise click.BadParameter("this machine or its torch build has no CUDA device; use --device cpu")
    training = Training(minutes=minutes, size=int(size), seed=seed)
    try:
        prior = train(training, torch.device(device), run, resume, start)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from error
    model.save(prior, run / "model")
    Vocabulary().save(run / "model")
    click.echo(f"wrote {run / 'model'}")


if __name__ == "__main__":
    main()
