"""The program: dreamtime, or python -m backend."""

import os
import sys

from backend.openmp import SPINS


def run() -> int:
    """Run the command line; returns the exit code."""
    os.environ.setdefault(*SPINS)
    from backend.cli import main  # which may import torch, and that reads the environment

    return main()


if __name__ == "__main__":
    sys.exit(run())
