"""Where the program keeps what is not part of it: $DREAMTIME_HOME, or the user's own folders."""

import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_config_path, user_data_path

from backend.errors import UserError

VARIABLE = "DREAMTIME_HOME"


def data_folder() -> Path:
    """For models and jobs. It need not exist. Raises UserError where nothing says whose home to take."""
    return _chosen() or _users_own(user_data_path)


def keys_folder() -> Path:
    """For keys. It need not exist. Raises UserError where nothing says whose home to take."""
    return (_chosen() or _users_own(user_config_path)) / "keys"


def expanded(path: str | Path) -> Path:
    """`path` with the home folder in place of its ~. Raises UserError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path} begins in a home folder that is not there; write the whole path") from error


def _chosen() -> Path | None:
    home = os.environ.get(VARIABLE)
    return expanded(home) if home else None


def _users_own(folder_of: Callable[[str], Path]) -> Path:
    try:
        folder = folder_of("dreamtime")
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # neither HOME nor the system's list of users tells
        raise UserError(f"this user has no home folder; set {VARIABLE} to a folder you own")
    return folder
