"""Where the backend listens, and how to reach it there."""

import socket
from ipaddress import ip_address

from backend.errors import UserError

EVERYWHERE = frozenset({"*", "0.0.0.0", "::"})  # noqa: S104  # served on only if a client is paired
"""Addresses to listen on that mean all of this machine's."""

_LOOPBACK = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # noqa: S104
# Connecting a datagram socket sends nothing: it only asks which way the packets would go. Nobody has this address.
_FAR_AWAY = ("192.0.2.1", 9)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name other than localhost is taken for reachable."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def numeric(host: str) -> str:
    """The IP address to listen on, as ZeroMQ takes it; raises UserError if the name of `host` is unknown."""
    if host == "*":
        return "0.0.0.0"  # noqa: S104
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"{host!a} is no address; serve on 127.0.0.1, or on an address of this machine") from error


def from_here(host: str) -> str:
    """The address by which this machine itself reaches what listens on `host`."""
    return _LOOPBACK.get(host, host)


def endpoint(address: str, port: int) -> str:
    """An IP address and a port as ZeroMQ takes them."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def for_others() -> str:
    """The address by which others probably reach this machine, or its name if it has none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_FAR_AWAY)
        except OSError:  # no network
            return socket.gethostname()
        return str(probe.getsockname()[0])
