"""Other programs: what they wrote, or why they failed."""

import re
import subprocess
import sys
from typing import Any

from packager.errors import BuildError

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(command: list[Any], failure: str, environment: dict[str, str] | None = None, sign: str = "") -> str:
    """What a program wrote. failure: what its failing means, and what to do then. sign: what it writes on success."""
    done = subprocess.run(  # noqa: S603  # our own words
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace"
    )
    if done.returncode or sign not in done.stdout:
        said = f"{done.stdout}\n{done.stderr}".strip().splitlines() or ["no word"]
        last = ([line for line in said if re.search(r"\berror\b", line, re.IGNORECASE)] or said)[-1].strip()
        raise BuildError(f"{failure} ({last})")
    return done.stdout
