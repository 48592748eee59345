"""How the program starts other processes of itself."""

import sys
from pathlib import Path

_FOLDER = Path(__file__).parents[1]


def command(module: str) -> tuple[str, ...]:
    """What runs a module of this program as a process of its own, in the folder where this one runs.

    A folder "backend" or "shared" there is not taken for the program's, unless it is: in its own checkout.
    """
    safely = () if Path.cwd() == _FOLDER else ("-P",)
    return (sys.executable, *safely, "-m", module)
