"""dreamtime pair, clients, revoke: who may use this machine's backend."""

from datetime import datetime

import click
from zmq.utils import z85

from backend.errors import UserError
from backend.home import keys_folder
from backend.service.addresses import EVERYWHERE, for_others
from backend.service.keys import KeyRing
from shared.limits import DEFAULT_PORT
from shared.pairing import Pairing, PairingError

_HEADINGS = ("name", "fingerprint", "paired on", "last seen")


@click.command()
@click.argument("name")
@click.option("--host", help="The address by which the artist reaches this machine; found if left out.")
@click.option("--port", type=int, default=DEFAULT_PORT, show_default=True, help="Where the backend serves.")
def pair(name: str, host: str | None, port: int) -> None:
    """Let the artist NAME use this backend. Prints one line, to be pasted on the artist's machine."""
    host = (host or for_others()).removeprefix("[").removesuffix("]")
    if host in EVERYWHERE:
        raise UserError(f"{host} is no address that others can reach; give this machine's own with --host")
    ring = KeyRing(keys_folder())
    try:
        public = z85.decode(ring.server[0])
        Pairing(host, port, public, bytes(len(public)))  # refuse a bad address before anybody is let in
        line = str(Pairing(host, port, public, ring.pair(name)))
    except PairingError as error:
        raise UserError(f"{error}, with --host and --port") from error
    click.echo(line)
    click.echo(
        f"This line lets {name} use the backend at {host} port {port}: paste it on that computer. "
        "It is shown only this once and holds a secret, so send it the way you would send a password.",
        err=True,
    )


@click.command()
def clients() -> None:
    """List who may use this backend: name, fingerprint of the key, when paired, when last seen."""
    found = KeyRing(keys_folder()).clients()
    if not found:
        click.echo("nobody is paired; dreamtime pair NAME lets somebody in")
        return
    rows = [
        _HEADINGS,
        *((client.name, client.fingerprint, _shown(client.created), _shown(client.last_seen)) for client in found),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@click.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Let NAME in no longer. A running backend heeds it within a second, for open connections too."""
    KeyRing(keys_folder()).revoke(name)
    click.echo(f"revoked {name}; the line that was pasted there is worthless now")


def _shown(time: datetime | None) -> str:
    """In the zone of whoever asks."""
    return "never" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"
