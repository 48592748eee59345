"""dreamtime serve: let clients in and do their jobs."""

import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import click

from backend import program
from backend.errors import UserError
from backend.home import data_folder, keys_folder
from backend.service import local, server
from backend.service.cluster import guard
from backend.service.cluster.executor import RayExecutor
from backend.service.executor import Executor
from backend.service.keys import KeyRing
from backend.service.server import Address
from backend.service.shelf import Shelf
from shared.limits import DEFAULT_PORT


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--home", type=click.Path(path_type=Path), help="Where jobs are kept; the user's own folder if left out.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    help="cpu or cuda:0, once for each; all GPUs if left out, or cpu where there is none.",
)
@click.option("--ray", "cluster", help="The head of a Ray cluster whose devices do the work, HOST:PORT; or local.")
@click.option("--worker", default="backend.service.worker", hidden=True, help="The module that devices run.")
def serve(host: str, port: int, home: Path | None, devices: tuple[str, ...], cluster: str | None, worker: str) -> None:
    """Run the backend: take jobs, do them, keep the results. Ctrl-C stops it; jobs go on at the next start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    folder = (home or data_folder()) / "service"
    stop = _Stop()
    make: Callable[[], Executor]
    if cluster:
        chosen = _kinds(devices, cluster)
        make = partial(_ray_executor, chosen, folder / "logs", cluster, worker)
    else:
        chosen = devices or local.available_devices()
        make = partial(local.LocalExecutor, chosen, folder / "logs", program.command(worker))
    where = f"{chosen[0]} of the cluster at {cluster}" if cluster else ", ".join(chosen)

    def ready(address: Address) -> None:
        click.echo(f"ready at {address.host}:{address.port}, on {where}; Ctrl-C stops, and jobs are kept")

    server.serve(
        folder,
        KeyRing(keys_folder()),
        Address(host, port),
        make,
        chosen[0].partition(":")[0],
        ready,
        lambda: stop.wanted,
    )
    click.echo("stopped")


def _kinds(devices: tuple[str, ...], cluster: str) -> tuple[str, ...]:
    """The kind of device to use in a cluster, as often as this machine shall lend one if it is the cluster.

    One kind alone: a job that goes on elsewhere goes on as it was begun. Raises UserError.
    """
    if not guard.installed():
        raise UserError(guard.NOT_INSTALLED)
    if cluster != guard.LOCAL and not guard.is_address(cluster):
        raise UserError(f"{cluster!r} is no address of a cluster; give --ray HOST:PORT, or --ray local")
    if not devices:
        devices = local.available_devices() if cluster == guard.LOCAL else ("cuda",)
    kinds = tuple(device.partition(":")[0] for device in devices)
    if len(set(kinds)) > 1 or kinds[0] not in ("cpu", "cuda"):
        raise UserError("the devices of a cluster are of one kind; give --device cuda or --device cpu")
    return kinds


def _ray_executor(kinds: tuple[str, ...], logs: Path, cluster: str, worker: str) -> RayExecutor:
    bridge = program.command("backend.service.cluster.bridge")
    options = ("--address", cluster, "--devices", str(len(kinds)), "--worker", worker)
    return RayExecutor(kinds[0], logs, (*bridge, *options), Shelf().models)


class _Stop:
    """Whether the operating system or the user wants the server to end."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._want)

    def _want(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
