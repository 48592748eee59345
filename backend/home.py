"""Where the program keeps what is not part of it: $DREAMTIME_HOME, or the user's own folders."""

import os
from pathlib import Path

from platformdirs import user_config_path, user_data_path

VARIABLE = "DREAMTIME_HOME"


def data_folder() -> Path:
    """For models and jobs. It need not exist."""
    home = os.environ.get(VARIABLE)
    return Path(home) if home else user_data_path("dreamtime")


def keys_folder() -> Path:
    """For keys. It need not exist."""
    home = os.environ.get(VARIABLE)
    return Path(home) / "keys" if home else user_config_path("dreamtime") / "keys"
