"""dreamtime gallery: one object of each kind, judged and on one sheet."""

from pathlib import Path

import click
import torch
from tqdm import tqdm

from backend.evaluation.gallery import marks_for, save, shown, table
from backend.guidance import library
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.prior import judge
from backend.prior.captions import example_prompts
from backend.prior.pictures import save_sheet


@click.command()
@click.option("--preset", default="standard", show_default=True, help="draft, standard or high.")
@click.option("--schedule", help="Another schedule than the preset's.")
@click.option("--steps", type=int, help="Another length than the preset's.")
@click.option("--prompts", "count", type=click.IntRange(1, 22), default=22, show_default=True, help="How many of them.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gallery"), show_default=True)
def gallery(count: int, out: Path, **options: str | int | None) -> None:
    """Make one object of each kind that the built-in model knows, and say how good they are."""
    net = judge.load(library.builtin().folder)
    found, views = [], []
    with tqdm(example_prompts()[:count], unit="object") as bar:
        for prompt in bar:
            bar.set_description(prompt)
            folder = out / prompt.replace(" ", "_")
            found.append(marks_for(Request(prompt, **options), net, folder))  # type: ignore[arg-type]  # its fields
            views.append(shown(folder / MESH))
            save(found, out / "marks.json")
    save_sheet(torch.cat(views), out / "gallery.png", columns=8, zoom=1)
    click.echo(table(found))
    wrong = [marks.prompt for marks in found if not marks.right_caption]
    click.echo(f"not recognised: {', '.join(wrong) or 'none'}")
    click.echo(f"wrote {out / 'gallery.png'}")
