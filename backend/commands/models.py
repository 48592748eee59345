"""dreamtime models: the diffusion models of this machine."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import TextWrapper

import click
from huggingface_hub import HfApi

from backend.errors import UserError
from backend.guidance import folders, hub, library, scan
from backend.guidance.library import ModelSource
from backend.home import expanded
from backend.prior import words
from backend.prior.listing import Listing

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION_SHOWN = 19  # "sha256:" and twelve digits


@click.group()
def models() -> None:
    """The diffusion models of this machine: list, look, add, remove, and what words they know."""


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
    """Add a model: a checkpoint in one safetensors file, a diffusers folder, or a hub id such as owner/name."""
    if _is_here(source):
        added = library.add(Path(source), name)
        if unread := folders.pickles(added.folder):
            example = unread[0].relative_to(added.folder)
            click.echo(f"note: only safetensors are read, pickles ({len(unread)}, such as {example}) are not", err=True)
    else:
        added = _download(_hub(context), _hub_id(source), name, yes)
    _report(added)


def _report(added: ModelSource) -> None:
    click.echo(f"added {added.name} ({_readable(added.size)}); use it with --guidance {added.name}")


def _download(api: hub.Hub, hub_id: str, name: str, yes: bool) -> ModelSource:
    offer = hub.look_up(api, hub_id, name)
    click.echo(f"{offer.id}: {_readable(offer.size)}, licence {offer.licence}, commit {offer.commit}")
    if not yes:
        click.confirm("Download it under this licence?", abort=True)
    return hub.fetch(api, offer)


@models.command("scan")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--add", "adds", is_flag=True, help="Add all that can be added.")
def scan_folder(folder: Path, adds: bool) -> None:
    """Say what lies in FOLDER, such as that of ComfyUI or of A1111, and which models of it can be used here.

    Only headers are read. What is added is read from where it is, but for MVDream, which is converted.
    """
    folder = expanded(folder).resolve()
    known = {Path(model.origin): model.name for model in library.listed()}
    found = list(scan.scan(folder))
    width = max((len(model.kind) for model in found), default=0)
    for model in found:
        name = known.get(model.path.resolve())
        remark = model.refused or (f'added already, as "{name}"' if name else "")
        where = os.path.relpath(model.path, folder)
        click.echo(f"{model.kind or '-':{width}}  {where}{f': {remark}' if remark else ''}")
    new = sorted({model.path.resolve() for model in found if model.kind} - set(known))
    if not new:
        raise UserError(f"{folder} has no model that could be added; name the folder that has the checkpoints")
    if adds:
        for path in new:
            try:
                _report(library.add(path))
            except UserError as error:  # the others may be sound
                click.echo(f"not added: {error}", err=True)
    else:
        click.echo(f"to add {'them' if len(new) > 1 else 'it'}: dreamtime models scan --add {shlex.quote(str(folder))}")


@models.command("remove")
@click.argument("name")
def remove_model(name: str) -> None:
    """Forget the model NAME. Its files are deleted if they were downloaded; an added folder or file stays."""
    removed = library.remove(name)
    click.echo(f"removed {removed.name}")


@models.command("words")
@click.argument("part", default="")
@click.option(
    "--model", "name", default=library.BUILTIN, show_default=True, help="builtin, an added model, or a folder."
)
def list_words(part: str, name: str) -> None:
    """The words that a model knows: objects by group, with other names for them, then colours and what else there is.

    With PART, only groups and words that contain it.
    """
    model = library.resolve(name)
    known = words.of(model.folder)
    if known is None:
        raise UserError(f"{model.name} was taught on more than one can list; use any words")
    found = list(_containing(part.strip().casefold(), known.listing))
    if not found:
        raise UserError(f'{model.name} knows no word with "{part}" in it; try a shorter part, or none to see all')
    click.echo("\n\n".join(f"{title}\n{_PARAGRAPH.fill(', '.join(texts))}" for title, texts in found))


_PARAGRAPH = TextWrapper(width=79, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _containing(part: str, listing: Listing) -> Iterator[tuple[str, list[str]]]:
    """Titles and what stands under them, as far as one or the other has `part` in it."""
    groups = {group: [_named(*names) for names in kinds] for group, kinds in listing.objects.items()}
    groups |= {"colours": [*listing.colours], "patterns": [*listing.patterns], "materials": [*listing.materials]}
    groups |= {"other words": [*listing.others]}
    for title, texts in groups.items():
        if shown := [text for text in texts if part in title.casefold() or part in text.casefold()]:
            yield title, shown


def _named(usual: str, *synonyms: str) -> str:
    return f"{usual} ({', '.join(synonyms)})" if synonyms else usual


def _is_here(source: str) -> bool:
    return expanded(source).exists()


def _hub_id(source: str) -> str:
    if not _HUB_ID.fullmatch(source):
        raise UserError(f'"{source}" is neither a folder or file nor a hub id; ids look like owner/name')
    return source


def _hub(context: click.Context) -> hub.Hub:
    return context.find_object(HfApi) or HfApi()


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
