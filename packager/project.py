"""What is packed: the sources around this folder, and their version."""

import tomllib
from pathlib import Path

NAME = "dreamtime"
ROOT = Path(__file__).resolve().parents[1]


def version() -> str:
    """DreamTime's own, from pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
