"""dreamtime evaluate: does TP-SDS win here?"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import click
from tqdm import tqdm

from backend import machine
from backend.engine.names import SCHEDULES, ScheduleName
from backend.errors import UserError
from backend.evaluation import answers, report, study
from backend.evaluation.prompts import COMPARED
from backend.evaluation.rows import Rows
from backend.evaluation.runs import SUITES, Suite, planned_runs
from backend.evaluation.suites import GRADIENT_PROMPTS, all_gradients, all_of, carried_out, check, facts_of, prepared
from backend.pipeline.remedies import trouble
from backend.pipeline.request import RANGES
from backend.pipeline.results import prepare_folder
from shared.prompts import tidied

_COMPARED = tuple(name for name in SCHEDULES if name != "window")  # that one is MVDream's, not the paper's
_COUNT = click.IntRange(1, COMPARED)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


def _prompts(given: str) -> int | tuple[str, ...]:
    """How many of the drawn ones; or others, as they stand in the lines of a file."""
    return int(_COUNT.convert(int(given), None, None)) if given.isdecimal() else _lines(Path(given))


@click.command()
@click.option(
    "--suite",
    type=click.Choice([*SUITES, "all"]),
    default="all",
    show_default=True,
    help="--seeds, --schedules and --budgets are of 2d and 3d; the others have their own. starts needs --objects, and "
    "is no part of all.",
)
@click.option(
    "--prompts",
    type=_prompts,
    metavar="NUMBER|FILE",
    default=str(COMPARED),
    show_default=True,
    help="How many of what is drawn from all that the built-in model knows; or a file of your own, one to a line.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many for each prompt.")
@click.option("--schedules", default=",".join(_COMPARED), show_default=True, help="Their names, with commas.")
@click.option("--budgets", default="30,60,120", show_default=True, help="Numbers of steps, with commas.")
@click.option("--guidance", default="builtin", show_default=True, help="builtin, an added model, or a folder.")
@click.option("--clip", type=_FOLDER, help="A CLIP model, in transformers' layout, that judges as well.")
@click.option(
    "--objects", type=_FOLDER, help="GLB files of true shapes to measure against, with or without a catalogue.jsonl."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/evaluation"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the rows in OUT.")
@click.option("--report-only", is_flag=True, help="Run nothing: report on the rows in OUT.")
@click.option(
    "--study",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Run nothing: write this HTML page, on which people compare what two --arms of a --suite (3d) in OUT made.",
)
@click.option(
    "--arms",
    default="time_prior,uniform",
    show_default=True,
    help="Each a schedule, a variant or a number of steps, or several of these with slashes: uniform/90.",
)
@click.option("--pairs", type=click.IntRange(1, study.MOST_PAIRS), default=30, show_default=True, help="On the page.")
@click.option("--study-results", is_flag=True, help="Run nothing: count the answers that people saved, in FILES.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def evaluate(
    suite: str,
    prompts: int | tuple[str, ...],
    seeds: int,
    schedules: str,
    budgets: str,
    guidance: str,
    clip: Path | None,
    objects: Path | None,
    device: str,
    out: Path,
    resume: bool,
    report_only: bool,
    page: Path | None,
    arms: str,
    pairs: int,
    study_results: bool,
    files: tuple[Path, ...],
) -> None:
    """Compare the schedules as the paper does: rows, plots and a report that says what holds here, in OUT."""
    if study_results or files:
        _count(files, study_results)
        return
    if page:
        _write_study(out, "3d" if suite == "all" else cast(Suite, suite), arms, pairs, page)
        return
    names, steps = _schedules(schedules), _budgets(budgets)
    with trouble(out):
        if not report_only:
            prepare_folder(out)
            count, own = (prompts, ()) if isinstance(prompts, int) else (len(prompts), prompts)
            bench = prepared(guidance, device, clip, objects, own)
            suites = all_of(bench) if suite == "all" else (cast(Suite, suite),)
            for name in suites:
                check(bench, name)
            kept = {name: Rows(out, name, facts_of(bench, name), resume) for name in suites}
            for name, rows in kept.items():
                runs = planned_runs(name, bench.asked, count, seeds, names, steps, bench.presets)
                _follow(name, carried_out(bench, runs, rows, out), len(runs))
                if name == "2d":
                    _follow("gradients", all_gradients(bench, out), GRADIENT_PROMPTS)
        for title, findings in report.write(report.read(out), machine.described()).items():
            click.echo(f"{title}:")
            for finding in findings:
                click.echo(f"  {finding.sentence}")
    click.echo(f"wrote {out / report.MARKDOWN}")


def _count(files: Sequence[Path], asked: bool) -> None:
    if not (files and asked):
        raise UserError("answers are counted by --study-results FILES: name the files that people saved")
    for line in answers.told(*answers.read(files)):
        click.echo(line)


def _write_study(folder: Path, suite: Suite, arms: str, pairs: int, page: Path) -> None:
    drawn = study.drawn(folder, suite, arms, pairs)
    study.write(drawn, page)
    size = page.stat().st_size >> 10
    click.echo(f"wrote {page}: {len(drawn.pairs)} pairs of {' and '.join(drawn.arms)}, {size:,} KiB")


def _follow(what: str, doing: Iterator[object], total: int) -> None:
    with tqdm(doing, total=total, desc=what) as bar:
        for now in bar:
            bar.set_postfix_str(str(now))


def _lines(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no number of prompts, nor a text file that can be read: {error}") from error
    found = tuple(dict.fromkeys(line for raw in text.splitlines() if (line := tidied(raw))))
    if not found:
        raise UserError(f"{path} holds no prompts: write one to a line")
    return found


def _schedules(text: str) -> list[ScheduleName]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in SCHEDULES:
            raise UserError(f'there is no schedule "{name}"; choose of {", ".join(SCHEDULES)}')
    return cast(list[ScheduleName], names)


def _budgets(text: str) -> list[int]:
    try:
        steps = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise UserError(f'"{text}" are no numbers of steps; try --budgets 30,60,120') from None
    least, most = RANGES["steps"]
    if not least <= min(steps) <= max(steps) <= most:
        raise UserError(f"a budget is {least:,} to {most:,} steps")
    return steps
