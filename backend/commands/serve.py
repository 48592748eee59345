"""dreamtime serve: let clients in and do their jobs."""

import logging
import signal
from pathlib import Path
from types import FrameType

import click

from backend import program
from backend.home import data_folder, keys_folder
from backend.service import local, server
from backend.service.keys import KeyRing
from backend.service.server import Address
from shared.limits import DEFAULT_PORT


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--home", type=click.Path(path_type=Path), help="Where jobs are kept; the user's own folder if left out.")
@click.option(
    "--device", "devices", multiple=True, help="cpu, cuda:0, ...; several times for several. All GPUs, or cpu."
)
@click.option("--worker", default="backend.service.worker", hidden=True, help="The module that devices run.")
def serve(host: str, port: int, home: Path | None, devices: tuple[str, ...], worker: str) -> None:
    """Run the backend: take jobs, do them, keep the results. Ctrl-C stops it; jobs go on at the next start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    folder = (home or data_folder()) / "service"
    stop = _Stop()
    chosen = devices or local.available_devices()

    def ready(address: Address) -> None:
        click.echo(f"ready at {address.host}:{address.port}, on {', '.join(chosen)}; Ctrl-C stops, and jobs are kept")

    server.serve(
        folder,
        KeyRing(keys_folder()),
        Address(host, port),
        lambda: local.LocalExecutor(chosen, folder / "logs", program.command(worker)),
        chosen[0].partition(":")[0],
        ready,
        lambda: stop.wanted,
    )
    click.echo("stopped")


class _Stop:
    """Whether the operating system or the user wants the server to end."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._want)

    def _want(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
