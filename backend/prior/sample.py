"""Draw images from a trained prior: python -m backend.prior.sample "a red mug" --n 8 --out mugs.png."""

from itertools import cycle
from pathlib import Path

import click
import torch
from jaxtyping import Float
from torch import Tensor

from backend.engine.cameras import CameraDistribution
from backend.engine.shading import LightDistribution
from backend.errors import UserError
from backend.guidance import folders
from backend.guidance.precision import autocast
from backend.guidance.views import Views, shown
from backend.prior import model, words
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior
from backend.prior.pictures import save_sheet
from backend.prior.wording import asked_for
from shared.limits import PROMPT_CHARACTERS


@torch.no_grad()
def sample(
    prior: Prior,
    prompts: list[str],
    generator: torch.Generator,
    steps: int = 25,
    cfg: float = 3.0,
    batch: int = 64,
    views: Views | None = None,
) -> Float[Tensor, "B 3 H W"]:
    """One image in [0, 1] per prompt: DDIM in `steps` steps with classifier-free guidance `cfg`.

    views: one a prompt, or None for random ones.
    """
    shape = (len(prompts), 3, prior.size, prior.size)
    noise = torch.randn(shape, generator=generator, device=generator.device)
    if views is None:
        views = _any_views(len(prompts), generator)
    told = views.features
    parts = []
    for start in range(0, len(prompts), batch):
        part = slice(start, start + batch)
        parts.append(_denoise(prior, prompts[part], noise[part], told[part], steps, cfg))
    return torch.cat(parts)


def _any_views(count: int, generator: torch.Generator) -> Views:
    cameras = CameraDistribution().sample(count, generator)
    toward = torch.tensor([[0.0, 0.0, 1.0]], device=generator.device).expand(count, -1)
    return Views(cameras, LightDistribution().sample(toward, generator))


def _denoise(prior: Prior, prompts: list[str], noise: Tensor, views: Tensor, steps: int, cfg: float) -> Tensor:
    device = prior.unet.device
    text = torch.cat([prior.encode([""] * len(prompts)), prior.encode(prompts)])
    told = views.to(device).repeat(2, 1)
    image = torch.nn.functional.pixel_unshuffle(noise.to(device), prior.fold)
    prior.scheduler.set_timesteps(steps)
    for t in prior.scheduler.timesteps:
        with autocast(device):  # bf16 shows in no picture
            seen = shown(torch.cat([image, image]), told, prior.unet.config.in_channels)
            both = prior.unet(seen, t, text, class_labels=told).sample.float()
        unconditional, conditional = both.chunk(2)
        guided = unconditional + cfg * (conditional - unconditional)
        image = prior.scheduler.step(guided, t, image).prev_sample
    return ((torch.nn.functional.pixel_shuffle(image, prior.fold) + 1) / 2).clamp(0, 1)


def _words(folder: Path) -> Lexicon:
    try:
        folders.check(folder)
        known = words.of(folder)
    except UserError as error:
        raise click.BadParameter(str(error)) from error
    if known is None:
        raise click.BadParameter(f"the model in {folder} was not trained here; leave --model out for the built-in one")
    return known


def _checked(prompt: str, known: Lexicon) -> str:
    """The prompt as the model is told it. One that it cannot draw is refused; words that it will not heed are named."""
    if not prompt.strip():
        raise click.BadParameter('the prompt is empty; try "a red mug"')
    if len(prompt) > PROMPT_CHARACTERS:
        raise click.BadParameter(f"the prompt has {len(prompt)} characters; shorten it to {PROMPT_CHARACTERS}")
    try:
        warning = known.knows(prompt).warning
    except UserError as error:
        raise click.BadParameter(str(error)) from error
    if warning:
        click.echo(f"warning: {warning}", err=True)
    return known.told(prompt)


def _examples(known: Lexicon) -> list[str]:
    """One prompt per kind of object, going through the colours."""
    return [asked_for(noun.noun, colour) for noun, colour in zip(known.nouns, cycle(known.colours), strict=False)]


@click.command()
@click.argument("prompt", required=False)
@click.option("--everything", is_flag=True, help="Two pictures of every object, instead of a prompt.")
@click.option("--n", type=click.IntRange(1, 512), default=8, show_default=True, help="How many images.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The PNG to write.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--steps", type=click.IntRange(1, 1000), default=25, show_default=True)
@click.option("--cfg", type=float, default=3.0, show_default=True)
@click.option("--model", "folder", type=click.Path(path_type=Path, exists=True), default=model.BUILTIN)
def main(
    prompt: str | None, everything: bool, n: int, out: Path, seed: int, steps: int, cfg: float, folder: Path
) -> None:
    """Draw images of PROMPT with the built-in model, or another that was trained here."""
    if (prompt is None) != everything:
        raise click.UsageError('give either a prompt, such as "a red mug", or --everything')
    known = _words(folder)
    told = [text for text in _examples(known) for _ in range(2)] if prompt is None else [_checked(prompt, known)] * n
    images = sample(model.load(folder), told, torch.Generator().manual_seed(seed), steps, cfg)
    try:
        save_sheet(images, out, columns=min(len(told), 11))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"cannot write {out}: {error}") from error
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
