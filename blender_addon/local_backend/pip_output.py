"""How far an installation is, read from what pip prints."""

import re
from dataclasses import dataclass

DOWNLOADED, INSTALLED = 0.75, 0.95
"""The fractions at which all is downloaded, and all is installed and about to be tried."""

_STARTED = 0.03
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")  # of --progress-bar raw
_FILE = re.compile(r"\s*(?:Downloading|Using cached) (?P<file>\S+)(?: \((?P<size>[\d.]+) (?P<unit>[kMG]?B)\))?")
_PROCESSING = re.compile(r"Processing (?P<file>\S+)")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SUFFIXES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True)
class Progress:
    """phase: what is being done, for people. package: with which, or "". fraction: from 0 to 1, an estimate."""

    phase: str
    package: str
    fraction: float


class Reader:
    """expected: bytes of all that is to be downloaded. The fraction never goes back."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._before = 0.0  # bytes of the files before this one
        self._size = 0.0  # of this one
        self._now = Progress("Downloading", "", _STARTED)

    def read(self, line: str) -> Progress:
        """How far it is after this line."""
        if found := _PROGRESS.match(line):
            return self._downloading(self._now.package, self._before + min(int(found[1]), self._size or int(found[1])))
        found = _FILE.match(line) or _PROCESSING.match(line)
        if found and found["file"].endswith(_SUFFIXES):
            self._before += self._size
            sizes = found.groupdict()
            self._size = float(sizes.get("size") or 0) * _UNITS[sizes.get("unit") or "B"]
            return self._downloading(_package(found["file"]), self._before)
        if line.startswith("Installing collected packages"):
            self._now = Progress("Installing", "", DOWNLOADED)
        elif line.startswith("Successfully installed"):
            self._now = Progress("Installing", "", INSTALLED)
        return self._now

    def _downloading(self, package: str, received: float) -> Progress:
        fraction = _STARTED + (DOWNLOADED - _STARTED) * min(1.0, received / self._expected)
        self._now = Progress("Downloading", package, max(self._now.fraction, fraction))
        return self._now


def _package(file: str) -> str:
    """ "torch" from ".../torch-2.13.0-cp311-cp311-win_amd64.whl"."""
    return re.split(r"[/\\]", file)[-1].partition("-")[0]
