"""dreamtime gallery: many objects, judged and on one sheet."""

from pathlib import Path

import click
import torch
from tqdm import tqdm

from backend.evaluation.gallery import kept, marks_for, save, shown, table
from backend.evaluation.prompts import TRIED, Prompts
from backend.evaluation.references import References
from backend.guidance import library
from backend.mesh.glb import read_glb
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.prior import judge
from backend.prior.pictures import save_sheet

_COLUMNS = 12
_MARKS, _SHEET = "marks.json", "gallery.png"


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
    help="GLB files of true shapes to measure against, with or without a catalogue.jsonl.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gallery"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on with what is in OUT, by the same options.")
def gallery(count: int, objects: Path | None, out: Path, resume: bool, **options: str | int | None) -> None:
    """Make objects drawn from all that the built-in model knows, and say how good they are."""
    net = judge.load(library.builtin().folder)
    references = References.of(objects) if objects else None
    prompts = Prompts.drawn(net.lexicon).presets[:count]
    found = [marks for marks in kept(out / _MARKS) if marks.prompt in prompts] if resume else []
    done = {marks.prompt for marks in found}
    with tqdm([prompt for prompt in prompts if prompt not in done], unit="object") as bar:
        for prompt in bar:
            bar.set_description(prompt)
            request = Request(prompt, **options)  # type: ignore[arg-type]  # its fields
            found.append(marks_for(request, net, references, _folder(out, prompt)))
            save(found, out / _MARKS)
    made = (read_glb(_folder(out, prompt) / MESH)[0] for prompt in prompts)
    save_sheet(torch.cat([shown(asset) for asset in made]), out / _SHEET, _COLUMNS, zoom=1)
    click.echo(table(found))
    wrong = [marks.prompt for marks in found if not marks.first]
    click.echo(f"not recognised: {', '.join(wrong) or 'none'}")
    click.echo(f"wrote {out / _SHEET}")


def _folder(out: Path, prompt: str) -> Path:
    return out / prompt.replace(" ", "_")
