"""Whether a cluster can and may be joined. Whoever can reach one without a token can run programs on its machines."""

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Literal

from backend.errors import UserError
from backend.service import private

LOCAL = "local"
"""The address of a cluster of this machine alone, which lasts as long as its bridge."""

NOT_INSTALLED = "Ray is not installed here; run, in the program's folder: python -m pip install '.[ray]' (Linux only)"

Knock = Literal["refused", "open", "away"]
"""What somebody without a token meets at a cluster."""

_CONNECT_SECONDS, _KNOCK_SECONDS = 3.0, 60.0
_MODE, _TOKEN, _TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_KNOCK = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)
    print("open")
except AuthenticationError:
    print("refused")
"""


def lack(address: str) -> str | None:
    """What is missing before the cluster at `address` can be joined, with the remedy; None: nothing.

    From then on this process and its children use the token; that of a cluster of this machine alone nobody else has.
    """
    if not installed():
        return NOT_INSTALLED
    os.environ[_MODE] = "token"
    if address == LOCAL:
        os.environ[_TOKEN] = secrets.token_hex(32)
        return None
    try:
        if not has_token():
            return (
                "this machine has no token for the cluster; run: ray get-auth-token --generate on one, copy it to all"
            )
    except UserError as error:
        return str(error)
    met = knock(address)
    if met == "open":
        return f"the cluster at {address} lets in whoever asks; set {_MODE}=token on all machines and start Ray anew"
    if met == "away":
        return f"no cluster answers at {address}; is the address right, and does Ray run there"
    return None


def installed() -> bool:
    """Whether there is Ray here."""
    return importlib.util.find_spec("ray") is not None


def is_address(text: str) -> bool:
    """Whether `text` has the form HOST:PORT."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def has_token() -> bool:
    """Whether there is a token where Ray looks for one. Ray crashes where there is none.

    Raises UserError if others on this machine can read it, as those that Ray writes can be.
    """
    if os.environ.get(_TOKEN):
        return True
    path = Path(os.environ.get(_TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    return path.is_file() and bool(private.read(path).strip())


def knock(address: str) -> Knock:
    """Ask the cluster which machines it has, without a token."""
    if not is_address(address):
        return "away"
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError:
        return "away"
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    try:
        done = subprocess.run(  # noqa: S603 this program's own
            [sys.executable, "-c", _KNOCK, address],
            env={**stranger, _MODE: "disabled"},
            capture_output=True,
            text=True,
            timeout=_KNOCK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "away"
    word = done.stdout.strip()
    return word if word in ("open", "refused") else "away"  # type: ignore[return-value]
