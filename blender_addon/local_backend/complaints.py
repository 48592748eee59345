"""Why an installation failed, said to the artist: recognised in what the failed program printed."""

import re
from collections.abc import Sequence
from pathlib import Path

from .troubles import InstallError

_TAIL = 12
_TAIL_BYTES = 8192

# The first that matches counts: pip complains of a missing version too when it could not reach any index.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|not enough space on the disk|disk quota exceeded|winerror 112\b|errno 28\b",
        "the disk became full while the backend was installed",
        "make room on the disk and install it again",
    ),
    (
        r"enable long paths|long path support|file ?name too long|winerror 206\b",
        "Windows refused a file because its path is too long",
        "turn on long paths in Windows (LongPathsEnabled), restart Blender and install it again",
    ),
    (
        r"do not match the hashes|hash mismatch|incompleteread|invalid wheel|badzipfile",
        "a downloaded package was damaged or is not the one that was expected",
        "install it again; if that stays, something on the way to the internet changes files",
    ),
    (
        r"proxyerror|proxy authentication|cannot connect to proxy",
        "the proxy of this network lets no package through",
        "set the proxy in the variable HTTPS_PROXY or in pip's configuration, restart Blender and install it again",
    ),
    (
        r"certificate_verify_failed|sslerror|sslcertverificationerror",
        "the connection to the package index is not trusted: its certificate was refused",
        "name your network's certificates in the variable PIP_CERT, restart Blender and install it again",
    ),
    (
        r"newconnectionerror|nameresolutionerror|failed to establish a new connection|connecttimeout|readtimeout"
        r"|read timed out|getaddrinfo failed|name resolution|network is unreachable|connection reset|connection aborted"
        r"|connection broken|max retries exceeded|remotedisconnected",
        "the package index could not be reached",
        "check the internet connection and the firewall and install it again; what was downloaded is kept",
    ),
    (
        r"no module named '?ensurepip|ensurepip is not available",
        "this Blender's Python cannot make environments: it comes without ensurepip",
        "use the Blender from blender.org, or install your system's package python3-venv",
    ),
    (
        r"no module named '?venv\b|unable to copy .*venvlauncher",
        "this Blender's Python cannot make environments: it comes without venv",
        "use the Blender from blender.org, or run the backend on another computer and pair with it",
    ),
    (
        r"no matching distribution found|resolutionimpossible|conflicting dependencies|requires a different python",
        "a package that the backend needs is not offered for this Python and system",
        "run the backend on another computer and pair with it, and tell the makers of DreamTime",
    ),
    (
        r"permission denied|access is denied|winerror 5\b|winerror 32\b|errno 13\b|errno 30\b|read-only file system",
        "a file of the backend's folder could not be written",
        "see who may write there, stop a running backend, let antivirus programs leave it alone, and install it again",
    ),
    (
        r"memoryerror|cannot allocate memory|winerror 1455\b",
        "the memory was too small to install the backend",
        "close other programs and install it again",
    ),
)


def explain(step: str, lines: Sequence[str], log: Path) -> InstallError:
    """Why a program failed. step: what it was for, as "making the environment". lines: what it printed."""
    text = "\n".join(lines)
    for pattern, sentence, remedy in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return InstallError(sentence, remedy, tail(lines))
    return InstallError(f"{step} failed", f"install it again; if that fails too, read {log}", tail(lines))


def tail(lines: Sequence[str]) -> list[str]:
    """The last lines that say something."""
    return [line.rstrip() for line in lines if line.strip()][-_TAIL:]


def last_lines(log: Path) -> tuple[str, ...]:
    """The end of a log, which may be long; nothing if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return tuple(tail(file.read().decode("utf-8", "replace").splitlines()))
    except OSError:
        return ()
