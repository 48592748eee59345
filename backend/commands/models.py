"""dreamtime models: the diffusion models of this machine."""

import json
import re
from pathlib import Path

import click
from huggingface_hub import HfApi

from backend.errors import UserError
from backend.guidance import folders, hub, library
from backend.guidance.library import ModelSource
from backend.home import expanded

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION_SHOWN = 19  # "sha256:" and twelve digits


@click.group()
def models() -> None:
    """The diffusion models of this machine: list, look, add, remove."""


@models.command("list")
def list_models() -> None:
    """The built-in model and the added ones: name, size, licence, revision, origin."""
    rows = [
        (model.name, _readable(model.size), model.licence, model.revision[:_REVISION_SHOWN], model.origin)
        for model in library.listed()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@models.command("look")
@click.argument("source", metavar="ID_OR_PATH")
@click.pass_context
def look_at_model(context: click.Context, source: str) -> None:
    """Print as JSON what adding a model would bring: name, size in bytes, licence, revision. Downloads nothing."""
    if _is_here(source):
        found = library.offered(Path(source))
        name, size, licence, revision = found.name, found.size, found.licence, found.revision
    else:
        offer = hub.look_up(_hub(context), _hub_id(source))
        name, size, licence, revision = offer.id, offer.size, offer.licence, offer.commit
    click.echo(json.dumps({"name": name, "size": size, "licence": licence, "revision": revision}))


@models.command("add")
@click.argument("source", metavar="ID_OR_PATH")
@click.option("--name", default="", help="What to call it; the id or the folder's name if left out.")
@click.option("--yes", is_flag=True, help="Download without asking.")
@click.pass_context
def add_model(context: click.Context, source: str, name: str, yes: bool) -> None:
    """Add a model: a diffusers folder, an id of the Hugging Face hub such as owner/name, or MVDream's safetensors."""
    if _is_here(source):
        added = library.add(Path(source), name)
        if unread := folders.pickles(added.folder):
            example = unread[0].relative_to(added.folder)
            click.echo(f"note: only safetensors are read, pickles ({len(unread)}, such as {example}) are not", err=True)
    else:
        added = _download(_hub(context), _hub_id(source), name, yes)
    click.echo(f"added {added.name} ({_readable(added.size)}); use it with --guidance {added.name}")


def _download(api: hub.Hub, hub_id: str, name: str, yes: bool) -> ModelSource:
    offer = hub.look_up(api, hub_id, name)
    click.echo(f"{offer.id}: {_readable(offer.size)}, licence {offer.licence}, commit {offer.commit}")
    if not yes:
        click.confirm("Download it under this licence?", abort=True)
    return hub.fetch(api, offer)


@models.command("remove")
@click.argument("name")
def remove_model(name: str) -> None:
    """Forget the model NAME. Its files are deleted if they were downloaded; an added folder stays."""
    removed = library.remove(name)
    click.echo(f"removed {removed.name}")


def _is_here(source: str) -> bool:
    return expanded(source).exists()


def _hub_id(source: str) -> str:
    if not _HUB_ID.fullmatch(source):
        raise UserError(f'"{source}" is neither a folder nor a hub id; ids look like owner/name')
    return source


def _hub(context: click.Context) -> hub.Hub:
    return context.find_object(HfApi) or HfApi()


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
