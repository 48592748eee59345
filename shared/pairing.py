"""The line that an artist pastes to reach a backend: where it is, its public key, and the artist's own secret key.

    dreamtime://HOST:PORT/<base64url of server key, secret and checksum>

Each line has one spelling only, in ASCII that can be seen, so that whatever differs from it by such a character is
refused; anything else comes from the program that carried the line, and is passed over.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import AddressValueError, IPv6Address
from typing import Self

from .errors import Trouble

KEY_BYTES = 32
"""A CURVE key, public or secret, as it is without encoding."""

_SCHEME = "dreamtime://"
_CHECKSUM_BYTES = 4
_LARGEST_PORT = 65535
_HOST_CHARACTERS = 253
_HOST_SHOWN = 40  # less than where the secret begins, if two lines were pasted at once
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_AROUND = "\"'`<>"  # what a line is quoted with in a letter


class PairingError(Trouble, ValueError):
    """A line that pairs with nothing."""

    usual_remedy = "copy the whole line that dreamtime pair NAME printed, and paste it again"


@dataclass(frozen=True)
class Pairing:
    """What a client needs to reach a backend. `str` gives the line, which holds the secret; `repr` does not show it.

    host: a name, an IPv4 address, or an IPv6 address without brackets. port: 1 to 65535.
    server_key: the backend's public key, 32 raw bytes. secret: the client's secret key, 32 raw bytes.
    Raises PairingError for a host or port that is none, and ValueError for a key of another length.
    """

    host: str
    port: int
    server_key: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= _LARGEST_PORT:
            raise PairingError(f"{self.port} is no port", f"give one from 1 to {_LARGEST_PORT}")
        if len(self.host) > _HOST_CHARACTERS or not (_HOST.fullmatch(self.host) or _is_ipv6(self.host)):
            shown = self.host[:_HOST_SHOWN]
            raise PairingError(f"{shown!a} is no address of a machine", "give its name or its IP address")
        if len(self.server_key) != KEY_BYTES or len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        keys = self.server_key + self.secret
        checksum = sha256(f"{_SCHEME}{self._address}/".encode() + keys).digest()[:_CHECKSUM_BYTES]
        return f"{_SCHEME}{self._address}/{urlsafe_b64encode(keys + checksum).rstrip(b'=').decode()}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """The pairing that a line stands for; quotes around it, white space and invisible characters do not matter.

        Raises PairingError.
        """
        line = "".join(letter for letter in line if "!" <= letter <= "~").strip(_AROUND)
        if not line:
            raise PairingError("there is no pairing line")
        if not line.startswith(_SCHEME):
            raise PairingError(f"a pairing line begins with {_SCHEME}, and this one does not")
        address, _, text = line.removeprefix(_SCHEME).rpartition("/")
        host, _, port = address.rpartition(":")
        data = _decoded(text)
        if not address or len(data) != 2 * KEY_BYTES + _CHECKSUM_BYTES:
            raise PairingError("the pairing line is not whole")
        if not (port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST_PORT))):
            raise PairingError(f"the pairing line has no port where it should ({port[:20]!a})")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        pairing = cls(host, int(port), data[:KEY_BYTES], data[KEY_BYTES : 2 * KEY_BYTES])
        if str(pairing) != line:
            raise PairingError("the pairing line was changed on its way: its checksum is wrong")
        return pairing

    @classmethod
    def from_file(cls, content: bytes) -> Self:
        """The pairing in a file of whatever encoding: UTF-8, Windows' UTF-16 and others that keep ASCII's bytes.

        Raises PairingError.
        """
        return cls.parse(content.decode("latin-1"))  # zeros and the marks of an encoding are passed over


def _decoded(text: str) -> bytes:
    """The bytes, or none if it is no base64; odd spellings are found out when the whole line is compared."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except AddressValueError:
        return False
