"""dreamtime submit, jobs, follow, fetch, cancel, delete: a backend's client on the command line."""

import importlib.metadata
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from backend.errors import UserError
from backend.home import keys_folder
from backend.pipeline.request import Request, check_values
from backend.service.keys import KeyRing
from shared.client import Client
from shared.connection import Patience
from shared.durations import duration
from shared.errors import LinkError
from shared.inputs import Start
from shared.jobs import Generation, JobState, Live, new_job_id
from shared.limits import VARIATIONS
from shared.pairing import Pairing, PairingError
from shared.states import FINAL, State

_SUBMIT_PATIENCE = 30.0
_PREFIX = 8
"""Characters of an id that are shown, and enough to name a job."""

_pairing = click.option(
    "--pairing",
    "pairing_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="DREAMTIME_PAIRING",
    help="A file with the line that `pair` printed; the backend of this machine if left out.",
)
_follow = click.option("--follow", "followed", is_flag=True, help="Wait until it is done, with a progress bar.")


@click.command()
@click.argument("prompt")
@click.option("--preset", default="standard", show_default=True, help="draft, standard or high.")
@click.option("--model", "--guidance", default="builtin", show_default=True, help="One that the backend has.")
@click.option("--negative", default="", help="What to keep away from.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--variations",
    type=click.IntRange(1, VARIATIONS),
    default=1,
    show_default=True,
    help="This seed and the next ones.",
)
@click.option("--steps", type=int, help="Length of the optimisation; the preset's if left out, as all below.")
@click.option("--schedule", help="time_prior, time_prior_ddpm, linear, sqrt, uniform or window.")
@click.option("--field", help="voxel, hashgrid or sdf.")
@click.option("--cfg", type=float, help="Classifier-free guidance scale.")
@click.option("--faces", type=int, help="At most this many triangles.")
@click.option("--texture", type=int, help="Pixels per side.")
@click.option("--shading", default="auto", show_default=True, help="auto (smooth but for creases), smooth or flat.")
@click.option("--level", type=float, help="Density of the surface, per metre.")
@click.option("--latent-field", is_flag=True, help="Render latents instead of colours, for models with a VAE.")
@click.option("--start", type=click.Path(path_type=Path), help="The file of a mesh or a picture to begin from.")
@click.option("--strength", type=float, help="How far the result may leave a mesh, up to 1; 0.5 if left out.")
@click.option("--paint-only", is_flag=True, help="Make colours for the mesh, and leave its shape alone.")
@click.option("--sketch", is_flag=True, help="Of the picture only the outline counts.")
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="A second picture, white where the object is; or the numbers of the triangles to paint, as text.",
)
@click.option("--id", "ids", multiple=True, help="The ids of a request that got no answer, to ask again.")
@_follow
@_pairing
def submit(
    prompt: str,
    variations: int,
    ids: tuple[str, ...],
    followed: bool,
    pairing_file: Path | None,
    start: Path | None,
    mask: Path | None,
    **options: Any,
) -> None:
    """Ask the backend for PROMPT. Prints the job's id once the backend has it on its disk."""
    try:
        request = Generation(prompt, **options)
    except ValueError as error:
        raise UserError(f"{error}; see dreamtime submit --help") from error
    begun = Request(
        prompt,
        negative=request.negative,
        start=start,
        mask=mask,
        strength=request.strength,
        paint_only=request.paint_only,
        sketch=request.sketch,
        latent_field=request.latent_field,
    )
    check_values(begun)
    given = _packed(begun) if start else None
    jobs = ids or tuple(new_job_id() for _ in range(variations))
    with _client(pairing_file, _SUBMIT_PATIENCE) as client:
        try:
            if given:
                _upload(client, *given)
                request = replace(request, start=given[0])
            _say_how_long(client, request)
            accepted = client.submit(jobs, request)
        except LinkError as error:
            again = " ".join(f"--id {job}" for job in jobs)
            raise UserError(f"{error}; to ask again without asking twice, add {again}") from error
        _warn(accepted[0].warnings)
        for job in accepted:
            click.echo(job.id)
        if followed:
            for job in accepted:
                _followed(client, job.id, told=job.warnings)


def _say_how_long(client: Client, request: Generation) -> None:
    """What the backend knows of the time that it will take."""
    models = {model.name: model for model in client.hello().offer.models}
    presets = models[request.model].presets if request.model in models else ()
    usual = request.field is None and not request.latent_field and request.start is None  # others take another time
    for preset in presets:
        if preset.name == request.preset and usual and (seconds := preset.takes(request.steps)) is not None:
            click.echo(f"about {duration(seconds)}, once it runs", err=True)


@click.command()
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@_pairing
def jobs(last: int, pairing_file: Path | None) -> None:
    """List your jobs, the newest first."""
    with _client(pairing_file) as client:
        found = list(itertools.islice(client.jobs(), last))
    for job in found:
        made = datetime.fromtimestamp(job.created).strftime("%Y-%m-%d %H:%M")  # in the user's own zone
        where = f" on {job.device}" if job.device else ""
        state = f"{job.state}, {job.ahead} ahead" if job.ahead else f"{job.state}{where}"
        click.echo(f"{job.id[:_PREFIX]}  {made}  {state:<16} {job.request.preset:<9} {job.request.prompt}")
        if job.reason:
            click.echo(f"{'':10}{job.reason.sentence}; {job.reason.remedy}")
    if not found:
        click.echo('no jobs yet; dreamtime submit "a red mug" makes one')


@click.command()
@click.argument("job")
@_pairing
def follow(job: str, pairing_file: Path | None) -> None:
    """Show the progress of JOB until it is finished. An id's first characters are enough."""
    with _client(pairing_file, patience=None) as client:
        _followed(client, _found(client, job).id)


@click.command()
@click.argument("job")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write; out/JOB if left out.")
@_pairing
def fetch(job: str, out: Path | None, pairing_file: Path | None) -> None:
    """Bring the results of JOB here, checked byte for byte. What is there already is not asked for again."""
    with _client(pairing_file, patience=60.0) as client:
        state = _found(client, job)
        if state.state != State.DONE:
            raise UserError(f"job {state.id[:_PREFIX]} is {state.state}; dreamtime follow {job} waits for it")
        if not state.results:
            raise UserError(f"the results of {state.id[:_PREFIX]} were removed, as they were old; submit it again")
        folder = out or Path("out") / state.id[:_PREFIX]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            total = sum(asset.size for asset in state.results)
            with tqdm(total=total, unit="B", unit_scale=True, desc=str(folder)) as bar:
                client.fetch_all(state, folder, lambda size: bar.update(size - bar.n))
        except OSError as error:
            raise UserError(f"cannot write {folder} ({error.strerror}); name another folder with --out") from error
    click.echo(f"wrote {', '.join(str(folder / asset.name) for asset in state.results)}")


@click.command()
@click.argument("job")
@_pairing
def cancel(job: str, pairing_file: Path | None) -> None:
    """End JOB, whether it waits or runs."""
    with _client(pairing_file) as client:
        state = client.cancel(_found(client, job).id)
        while state.state not in FINAL:
            state = _last_of(client.follow(state.id))
    click.echo(f"job {state.id[:_PREFIX]} is {state.state}")


@click.command()
@click.argument("job")
@_pairing
def delete(job: str, pairing_file: Path | None) -> None:
    """Remove a finished JOB and its results from the backend."""
    with _client(pairing_file) as client:
        state = client.delete(_found(client, job).id)
    click.echo(f"job {state.id[:_PREFIX]} is {state.state}")


def _packed(request: Request) -> tuple[Start, bytes]:
    """What `request` begins from, see `inputs.packed`."""
    from backend.commands import inputs  # which need torch: nothing else here does

    return inputs.packed(request)


def _upload(client: Client, start: Start, content: bytes) -> None:
    """Bring what a job begins from to the backend, with a progress bar."""
    with tempfile.TemporaryDirectory() as folder, tqdm(unit="B", unit_scale=True, desc=start.name) as bar:
        path = Path(folder) / start.sha256
        path.write_bytes(content)
        bar.total = len(content)
        client.upload(start, path, lambda there: bar.update(there - bar.n))


@contextmanager
def _client(pairing_file: Path | None, patience: float | None = 0.0) -> Iterator[Client]:
    """A client of the backend that the user named."""
    told = Patience(patience, lambda error, pause: tqdm.write(f"{error.sentence}; trying again"))
    with Client(_chosen(pairing_file), importlib.metadata.version("dreamtime"), told) as client:
        yield client


def _chosen(pairing_file: Path | None) -> Pairing:
    if pairing_file is None:
        found = KeyRing(keys_folder()).read_local()
        if found is None:
            raise UserError("no backend was ever started here; run dreamtime serve, or name one by --pairing")
        return found
    try:
        return Pairing.from_file(pairing_file.read_bytes())
    except (OSError, PairingError) as error:
        raise UserError(f"cannot use {pairing_file}: {error}") from error


def _found(client: Client, prefix: str) -> JobState:
    """The one job whose id begins with `prefix`. Raises UserError."""
    found = [job for job in client.jobs() if job.id.startswith(prefix.lower())]
    if len(found) != 1:
        problem = f"{len(found)} jobs begin with" if found else "you have no job"
        raise UserError(f'{problem} "{prefix}"; dreamtime jobs lists them')
    return found[0]


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _followed(client: Client, job: str, told: Sequence[str] = ()) -> None:
    """Show a bar until the job is finished. told: warnings that were shown. Raises UserError if it fails."""
    with tqdm(unit="step", total=None) as bar:
        for news in client.follow(job):
            if isinstance(news, Live):
                _show(bar, news)
            else:
                state = news
                bar.set_description(f"{state.state}, {state.ahead} ahead" if state.ahead else state.state)
                bar.set_postfix_str("")
    _warn(warning for warning in state.warnings if warning not in told)
    if state.reason:
        raise UserError(f"job {state.id[:_PREFIX]} failed: {state.reason.sentence}; {state.reason.remedy}")
    hint = f"; dreamtime fetch {state.id[:_PREFIX]} brings it here" if state.state == State.DONE else ""
    click.echo(f"job {state.id[:_PREFIX]} is {state.state}{hint}")


def _show(bar: "tqdm[Any]", live: Live) -> None:
    bar.set_description(live.stage)
    bar.set_postfix_str("" if live.eta is None else f"{live.eta:.0f} s left", refresh=False)
    if live.steps is not None:
        bar.total = live.steps
    done = live.step if live.step is not None else bar.total or 0  # the last steps may have gone by unseen
    bar.update(done - bar.n)


def _last_of(news: Iterator[JobState | Live]) -> JobState:
    return [part for part in news if isinstance(part, JobState)][-1]
