"""Write a model's card: python -m backend.prior.card --objects FOLDER --model FOLDER --images N.

It says what the model is, what it knows and does badly, and whose objects it was taught: for that, every line of the
catalogue has `licence` and `source`, and `creator` where one is known. `backend.prior.evaluate --write` adds scores.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from torch import nn

from backend.errors import UserError
from backend.files import write_whole
from backend.prior import catalogue, judge, model
from backend.prior.evaluate import CARD, TABLE_BEGIN, TABLE_END
from backend.prior.lexicon import Lexicon
from backend.prior.model import Prior

_BY = "CC-BY"
_UNMEASURED = "Not measured yet."


@dataclass(frozen=True)
class Credit:
    """Where an object comes from. creator: whoever made it, or, where nobody says, its source."""

    noun: str
    licence: str
    source: str
    creator: str


def credited(folder: Path) -> list[Credit]:
    """Where each object of `folder` comes from. Raises UserError if its catalogue does not say so."""
    catalogue.read(folder)
    path = folder / catalogue.FILE
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
        return [
            Credit(line["noun"], line["licence"], line["source"], line.get("creator") or line["source"])
            for line in lines
        ]
    except (FileNotFoundError, KeyError) as error:
        raise UserError(f"{path} does not say whose the objects are ({error}); add licence and source") from error


def creators(objects: Sequence[Credit]) -> str:
    """A line for each creator whom a licence wants named: under which one, and for what."""
    made: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for credit in objects:
        if credit.licence.startswith(_BY):
            made[credit.creator, credit.licence, credit.source].append(credit.noun)
    return "\n".join(
        f"- {creator} ({licence}{'' if source == creator else f'; {source}'}): {_counted(nouns)}"
        for (creator, licence, source), nouns in sorted(made.items(), key=lambda item: (item[0][0].lower(), item[0]))
    )


def _counted(nouns: Sequence[str]) -> str:
    return ", ".join(noun if count == 1 else f"{noun} ({count})" for noun, count in sorted(Counter(nouns).items()))


def sources(objects: Sequence[Credit]) -> str:
    """A table of where the objects come from, most of them first."""
    counts = Counter((credit.source, credit.licence) for credit in objects)
    rows = (f"| {source} | {licence} | {count} |" for (source, licence), count in counts.most_common())
    return "\n".join(["| source | licence | objects |", "|---|---|---|", *rows])


def parts(prior: Prior, net: judge.Judge) -> str:
    """A table of what the model consists of."""
    channels = ", ".join(map(str, prior.unet.config.block_out_channels))
    width, fold = prior.text_encoder.config.hidden_size, prior.fold
    more = prior.unet.config.in_channels - 3 * fold**2
    places = f", and where each position lies as {more} channels more" if more else ""
    rows = [
        (
            "unet",
            f"UNet2DConditionModel, {_millions(prior.unet)} parameters: {channels} channels; works on pixels in "
            f"[-1, 1], {fold} x {fold} of them folded into one position; told camera and light as class labels{places}",
        ),
        (
            "text_encoder",
            f"CLIPTextModel, {_millions(prior.text_encoder)} parameters, width {width}, trained together with the unet",
        ),
        ("tokenizer", f"whole words, {len(prior.tokenizer):,} of them; others become [UNK]"),
        ("scheduler", "Stable Diffusion's noise schedule (scaled-linear, 0.00085 to 0.012, 1000 steps), v prediction"),
        ("judge.safetensors", f"the independent judge that measured it, {_millions(net)} parameters"),
    ]
    return "\n".join(["| part | |", "|---|---|", *(f"| {name} | {told} |" for name, told in rows)])


def _millions(module: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.1f} M"


def known(lexicon: Lexicon) -> str:
    """What can be asked for, in words."""
    groups = ", ".join(f"{group} ({len(nouns)})" for group, nouns in lexicon.groups.items())
    return (
        f"{len(lexicon.nouns):,} kinds of objects and synonyms of them, {len(lexicon.colours)} colours "
        f"({', '.join(lexicon.colours)}) for any object with a main colour, and {len(lexicon.words):,} words in all. "
        f"By group: {groups}. `lexicon.json` lists them, and so does `dreamtime models words`."
    )


def card(folder: Path, objects: Path, images: int) -> str:
    """The card of the model in `folder`, which was taught `objects` on so many images; scores that it has stay.

    Raises UserError or FileNotFoundError if one of the folders is not what it should be.
    """
    taught = credited(objects)
    prior, net = model.load(folder), judge.load(folder)
    size = f"{prior.size} x {prior.size}"
    return f"""# The built-in model, {size}

A small text-to-image diffusion model that draws single objects on plain backgrounds, made so that DreamTime works
without a download, a GPU or an account. It is laid out as diffusers lays out a pipeline; plain diffusers and
transformers classes load every part.

![Samples](samples.png)

## What it knows

{known(net.lexicon)}

## What it does badly

- What it was taught is mostly low-poly, so is what it draws. It sees {size} pixels: thin parts (ladders, the legs
  of a lamp) and faces are a few pixels wide.
- Most kinds were taught by one or two objects: it draws that one, not the kind. Kinds that look alike (mug,
  coffee cup, teacup) are hard to tell apart, for it as for its judge.
- Flat white and gray objects come out pale on pale; glass is opaque; people stand with their arms stretched out.
- Legs of animals run together, handles of mugs are missing, things that are hollow come out full.
- Patterns (striped, spotted, checkered) were taught on simple solids only. One object a picture.

## What it is

{parts(prior, net)}

## How it was taught

On {images:,} pictures of {len(taught):,} objects, and of procedural solids: rendered from all sides at elevations of
-10 to 60 degrees, half of them in plain colours and half lit, recoloured and described anew for each batch
(`backend/prior/train.py`). It was told camera and light of each picture, and is told them when it guides. The judge
learnt from most of the same objects under wider lights and backgrounds, with some objects and views kept from it.

## Scores

Samples at random views (25 DDIM steps, cfg 3), printed by `python -m backend.prior.evaluate`:

{TABLE_BEGIN}
{_scores(folder / CARD)}
{TABLE_END}

## Sources and licences

The objects are not part of the program; the weights learnt from pictures of them. They were turned upright and to the
front, scaled to one size and recoloured.

{sources(taught)}

The model is under GPL-3.0-or-later, like the program. Objects under {_BY} are by:

{creators(taught)}
"""


def _scores(path: Path) -> str:
    """What a card that is there says of scores."""
    text = path.read_text("utf-8") if path.is_file() else ""
    return text.partition(TABLE_BEGIN)[2].partition(TABLE_END)[0].strip() or _UNMEASURED


@click.command()
@click.option(
    "--objects",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The folder that the model was taught, with a catalogue.jsonl.",
)
@click.option(
    "--model", "folder", type=click.Path(path_type=Path, exists=True), default=model.BUILTIN, help="Its folder."
)
@click.option("--images", type=click.IntRange(min=1), required=True, help="How many it was taught on.")
def main(objects: Path, folder: Path, images: int) -> None:
    """Write the card of a model, README.md in its folder."""
    try:
        write_whole(folder / CARD, card(folder, objects, images).encode())
    except (UserError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {folder / CARD}")


if __name__ == "__main__":
    main()
