"""Where the lines lie that say how to reach a backend: one that was pasted, or that of this machine's own backend.

They hold a secret, so they are files that only their owner can read, never properties, which end up in .blend files.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..shared.errors import LinkError
from ..shared.pairing import Pairing, PairingError

_LOCAL = "local.pairing"
_REMOTE = "remote.pairing"


class NotRunning(LinkError):
    """No backend was ever started on this machine."""

    usual_remedy = "press Start Backend or Install Backend, or run dreamtime serve"


class NoPairing(LinkError):
    """No remote backend was paired with."""

    usual_remedy = "run dreamtime pair NAME on its machine, and paste the line that it prints"


def keep_remote(folder: Path, line: str) -> Pairing:
    """Keep a pasted line. Raises PairingError if it is none, OSError if it cannot be written."""
    pairing = Pairing.parse(line)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{_REMOTE}.partial"
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{pairing}\n")
    partial.replace(folder / _REMOTE)
    return pairing


def forget_remote(folder: Path) -> None:
    (folder / _REMOTE).unlink(missing_ok=True)


def remote(folder: Path) -> Pairing:
    """The backend that was paired with. Raises NoPairing."""
    try:
        return Pairing.from_file((folder / _REMOTE).read_bytes())
    except FileNotFoundError as error:
        raise NoPairing("no remote backend was paired with") from error
    except (OSError, PairingError) as error:
        raise NoPairing(f"the pairing cannot be read ({error})") from error


def local(home: Path) -> list[Pairing]:
    """This machine's backends: that of the add-on, whose folder is `home`, and those that were started by hand.

    The one that was started last comes first. Raises NotRunning if none ever was.
    """
    paths = {path for path in (keys / _LOCAL for keys in _key_folders(home)) if path.is_file()}
    found = []
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        with suppress(OSError, PairingError):
            found.append(Pairing.from_file(path.read_bytes()))
    if not found:
        raise NotRunning("no backend runs on this machine")
    return found


def _key_folders(home: Path) -> Iterator[Path]:
    """Where a backend keeps its keys: see backend/home.py."""
    yield home / "keys"
    if sys.platform == "win32":
        users_own = Path(os.environ.get("LOCALAPPDATA", "~"), "dreamtime", "dreamtime")
    elif sys.platform == "darwin":
        users_own = Path("~/Library/Application Support/dreamtime")
    else:
        users_own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config", "dreamtime")
    for folder in (os.environ.get("DREAMTIME_HOME"), users_own):
        if folder:
            with suppress(RuntimeError):  # a user without a home
                yield Path(folder).expanduser() / "keys"
