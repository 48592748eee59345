"""dreamtime gallery: many objects, judged and on one sheet."""

from pathlib import Path

import click
import torch
from tqdm import tqdm

from backend.evaluation.gallery import marks_for, save, shown, table
from backend.evaluation.prompts import TRIED, Prompts
from backend.evaluation.references import References
from backend.guidance import library
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.prior import judge
from backend.prior.pictures import save_sheet

_COLUMNS = 12


@click.command()
@click.option("--preset", default="standard", show_default=True, help="draft, standard or high.")
@click.option("--schedule", help="Another schedule than the preset's.")
@click.option("--steps", type=int, help="Another length than the preset's.")
@click.option(
    "--prompts", "count", type=click.IntRange(1, TRIED), default=48, show_default=True, help="How many of them."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--objects",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of true shapes to measure against, as backend.prior.train takes it.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gallery"), show_default=True)
def gallery(count: int, objects: Path | None, out: Path, **options: str | int | None) -> None:
    """Make objects drawn from all that the built-in model knows, and say how good they are."""
    net = judge.load(library.builtin().folder)
    references = References.of(objects) if objects else None
    found, views = [], []
    with tqdm(Prompts.drawn(net.lexicon).presets[:count], unit="object") as bar:
        for prompt in bar:
            bar.set_description(prompt)
            folder = out / prompt.replace(" ", "_")
            request = Request(prompt, **options)  # type: ignore[arg-type]  # its fields
            found.append(marks_for(request, net, references, folder))
            views.append(shown(folder / MESH))
            save(found, out / "marks.json")
    save_sheet(torch.cat(views), out / "gallery.png", columns=_COLUMNS, zoom=1)
    click.echo(table(found))
    wrong = [marks.prompt for marks in found if not marks.first]
    click.echo(f"not recognised: {', '.join(wrong) or 'none'}")
    click.echo(f"wrote {out / 'gallery.png'}")
