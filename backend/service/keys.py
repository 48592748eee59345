"""Who may use this backend: its own key pair, and a public key for each client that was paired.

One folder that only its owner can open, one file for each client, so that other processes can pair and revoke
while the server runs. A remote client's secret key is never written here.
"""

import json
import logging
import os
import re
import threading
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import zmq
from zmq.utils import z85

from backend.errors import UserError
from backend.service import private
from backend.service.addresses import from_here
from shared.pairing import Pairing, PairingError

LOCAL = "local"
"""The name of this machine's own user among the clients."""

logger = logging.getLogger(__name__)
_NAME = re.compile(r"\w[\w .-]{0,59}")
_KEY_CHARACTERS = 40  # of Z85
_LOOK_SECONDS = 0.25  # how old the knowledge of who is paired may be
_SEEN_SECONDS = 60.0


@dataclass(frozen=True)
class PairedClient:
    """A client that may use the backend.

    public: its public key as Z85, which is also the owner of its jobs. fingerprint: short, to be compared by eye.
    created: when it was paired. last_seen: to the minute, or None if it never came.
    """

    name: str
    public: str
    fingerprint: str
    created: datetime
    last_seen: datetime | None


class KeyRing:
    """The keys in a folder, which is made when the first is written. Threads may share a ring.

    All but `admits` and `seen` raise UserError if the folder or a file cannot be used, or others can open it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._admitted: dict[str, Path] = {}
        self._entries: frozenset[tuple[str, tuple[int, ...] | None]] | None = None
        self._look_after = 0.0
        self._touch_after: dict[str, float] = {}

    @cached_property
    def server(self) -> tuple[bytes, bytes]:
        """The backend's public and secret key as Z85, made at the first use and kept."""
        path = self._folder / "server.json"
        if not path.exists():
            public, secret = zmq.curve_keypair()
            content = json.dumps({"public": public.decode(), "secret": secret.decode()})
            with suppress(FileExistsError):  # another process made it meanwhile; its keys count
                private.create(path, content.encode())
        try:
            content = json.loads(_read(path))
            public, secret = content["public"].encode(), content["secret"].encode()
            if zmq.curve_public(secret) != public:
                raise ValueError("the keys do not belong together")
        except (ValueError, TypeError, KeyError, AttributeError, zmq.ZMQError) as error:
            raise UserError(f"{path} is damaged ({error}); restore it, or delete it and pair everybody anew") from error
        return public, secret

    def pair(self, name: str) -> bytes:
        """Admit a new client; returns its secret key, 32 raw bytes, which is kept nowhere.

        Raises UserError if the name is taken, in whatever case, or is none.
        """
        name = unicodedata.normalize("NFC", name)
        if not _NAME.fullmatch(name) or name != name.strip():
            raise UserError(f"{name!a} is no name; take up to 60 letters, digits, spaces and . _ - in it")
        if name.casefold() == LOCAL:
            raise UserError(f'"{name}" is the name of this machine\'s own user; take another')
        public, secret = zmq.curve_keypair()
        created = datetime.now(UTC)
        try:
            private.create(self._path(name), _record(name, public, created), created.timestamp())
        except FileExistsError as error:
            raise UserError(
                f'there is a client "{name}" already; dreamtime revoke makes room, or take another name'
            ) from error
        self._look_after = 0.0
        return z85.decode(secret)

    def clients(self) -> list[PairedClient]:
        """All that are paired, by name; this machine's own user is one of them."""
        return sorted(filter(None, map(_client, self._files())), key=lambda client: client.name.casefold())

    def revoke(self, name: str) -> None:
        """Admit a client no longer. Raises UserError, with the names there are, if there is none of that name."""
        path = self._path(unicodedata.normalize("NFC", name))
        try:
            private.remove(path)
        except FileNotFoundError as error:
            names = ", ".join(client.name for client in self.clients()) or "none was paired"
            raise UserError(f"no client is called {name!a}; there are: {names}") from error
        finally:
            self._look_after = 0.0
        if path == self._path(LOCAL):
            self._local_line.unlink(missing_ok=True)

    def admits(self, owner: str) -> bool:
        """Whether the client with this public key may use the backend now; to be asked for each message.

        What other processes pair and revoke counts within a second. Never raises: if the folder cannot be read or
        others can open it, nobody is admitted, and a record that is damaged or open to others admits nobody.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._look_after:
                self._look_after = now + _LOOK_SECONDS
                self._look()
            return owner in self._admitted

    def seen(self, owner: str) -> None:
        """Remember that this client came just now; written at most once a minute."""
        with self._lock:
            path, now = self._admitted.get(owner), time.monotonic()
            if path is None or now < self._touch_after.get(owner, 0.0):
                return
            self._touch_after[owner] = now + _SEEN_SECONDS
        with suppress(OSError):  # revoked meanwhile, or a full disk: the time is a courtesy
            os.utime(path)

    def local(self, host: str, port: int) -> Pairing:
        """The pairing of this machine's own user, written where `read_local` finds it; its key is kept.

        host, port: where the backend listens.
        """
        path = self._path(LOCAL)
        secret = self._local_secret()
        if secret is None:
            public, encoded = zmq.curve_keypair()
            created = datetime.now(UTC)
            private.replace(path, _record(LOCAL, public, created), created.timestamp())
            secret = z85.decode(encoded)
        pairing = Pairing(from_here(host), port, z85.decode(self.server[0]), secret)
        private.replace(self._local_line, f"{pairing}\n".encode())
        self._look_after = 0.0
        return pairing

    def read_local(self) -> Pairing | None:
        """The pairing of this machine's own user, or None if no server has run here."""
        if not self._local_line.exists():
            return None
        try:
            return Pairing.from_file(_read(self._local_line))
        except PairingError as error:
            raise UserError(f"{self._local_line} is damaged; delete it and start the backend again") from error

    def _local_secret(self) -> bytes | None:
        """The local user's secret key if it is still admitted."""
        client = _client(self._path(LOCAL))
        if client is None or not self._local_line.exists():
            return None
        try:
            secret = Pairing.from_file(_read(self._local_line)).secret
        except PairingError:
            return None
        return secret if zmq.curve_public(z85.encode(secret)).decode() == client.public else None

    @property
    def _local_line(self) -> Path:
        return self._folder / "local.pairing"

    def _path(self, name: str) -> Path:
        # Any name makes a file name that every system takes, and names that differ in case only make the same.
        digest = sha256(name.casefold().encode(errors="surrogateescape")).hexdigest()
        return self._folder / f"client-{digest[:32]}.json"

    def _files(self) -> list[Path]:
        if not self._folder.exists():
            return []
        return list(private.folder(self._folder).glob("client-*.json"))

    def _look(self) -> None:
        """Learn who is admitted, if the folder has changed."""
        try:
            private.check(self._folder, self._folder.stat())
            with os.scandir(self._folder) as found:
                entries = frozenset((entry.name, _marks(entry)) for entry in found)
            if entries != self._entries:
                self._admitted = dict(filter(None, map(_admitted, self._files())))
                self._entries = entries
        except (OSError, UserError) as error:
            if self._admitted:
                logger.warning("nobody is admitted: %s", error)
            self._admitted, self._entries = {}, None


def _marks(entry: "os.DirEntry[str]") -> tuple[int, ...] | None:
    """What changes when a file is replaced by another or its mode is changed; None if it has just been removed."""
    try:
        stat = entry.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode


def _admitted(path: Path) -> tuple[str, Path] | None:
    """A client's key with its file, or None if there is no record fit for use."""
    try:
        client = _client(path)
    except UserError as error:
        logger.warning("a client is not admitted: %s", error)
        return None
    return (client.public, path) if client else None


def _client(path: Path) -> PairedClient | None:
    """The client of a record, or None if it is gone: revoked by another process. Raises UserError."""
    try:
        content, changed = json.loads(private.read(path)), path.stat().st_mtime
        name, public, created = content["name"], content["public"], datetime.fromisoformat(content["created"])
        if not isinstance(name, str) or not isinstance(public, str) or len(public) != _KEY_CHARACTERS:
            raise ValueError("it holds no name and key")
        # The file was given the time of pairing, and gets another when the client comes.
        modified = datetime.fromtimestamp(changed, UTC)
        last_seen = modified if modified > created else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"the record {path} is damaged ({error}); delete it and pair again") from error
    return PairedClient(name, public, _fingerprint(public), created, last_seen)


def _fingerprint(public: str) -> str:
    digits = sha256(public.encode()).hexdigest()[:16]
    return "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _record(name: str, public: bytes, created: datetime) -> bytes:
    return json.dumps({"name": name, "public": public.decode(), "created": created.isoformat()}).encode()


def _read(path: Path) -> bytes:
    try:
        return private.read(path)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); see who owns it") from error
