"""A model under training: its loss, its steps, and the state that it goes on from.

Letters: B images.
"""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from backend.checkpoints import Checkpoint, flat, under
from backend.guidance.precision import autocast
from backend.guidance.rigs import join_views
from backend.guidance.views import shown
from backend.prior import model, network
from backend.prior.drawing import Batch
from backend.prior.model import Prior
from backend.prior.network import Architecture
from backend.prior.optimiser import Optimiser
from backend.prior.pool import RIG

_EMBEDDINGS = "text_encoder.embeddings.token_embedding.weight"

_COARSE = 0.3
"""The share of the timesteps, from below, at which small pictures are not shown: what they lack is details."""


@dataclass(frozen=True)
class Training:
    """How a model is trained. images: of all sessions of a run together; the first `small` of them at half the size.

    Small ones are shown at noisy timesteps alone. learning_rate: of matrices, under Muon; `vector_rate`: of everything
    else, under AdamW. rigs: the share of batches in which every RIG pictures show one object. pictures: of each object,
    taken before training. ..._every: in images.
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
        first = round(_COARSE * len(self.abar)) if self.small else 0
        t = torch.randint(first, len(self.abar), (len(dropped) // batch.rig,), generator=generator)
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
        tensors = flat(
            {
                "prior": self.prior.modules().state_dict(),
                "average": self.average.modules().state_dict(),
                "optimiser": self.optimiser.state(),
            }
        )
        return Checkpoint(self.step, tensors, {"images": self.images, "words": self.words, **_shape(self.training)})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises ValueError if it is of another network or learnt other words."""
        for name, value in {"words": self.words, **_shape(self.training)}.items():
            if checkpoint.facts.get(name) != value:
                what = "objects, or words for them" if name == "words" else name
                raise ValueError(f"the run was started with other {what}; go on with the same, or start a new one")
        tensors = {name: tensor.to(self.device) for name, tensor in checkpoint.tensors.items()}
        try:
            self.prior.modules().load_state_dict(under("prior", tensors))
            self.average.modules().load_state_dict(under("average", tensors))
        except RuntimeError as error:
            raise ValueError("the run was started by an older version, of another network; start a new one") from error
        self.optimiser.restore(under("optimiser", tensors))
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
    with autocast(abar.device), attention_for(abar.device):
        text = prior.text_encoder(tokens).last_hidden_state
        seen = shown(signal * clean + spread * noise, views, prior.unet.config.in_channels)
        predicted = prior.unet(seen, t, text, class_labels=views).sample
    return (predicted.float() - (signal * noise - spread * clean)).square().mean()


def attention_for(device: torch.device) -> AbstractContextManager[None]:
    """The fused attention's backward pass is slow on CPUs for this few positions; plain products are not."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
