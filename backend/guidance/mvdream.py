"""MVDream as it is published: with the names of the program that it was trained by, so that adding it converts it.

As one checkpoint with all parts (sd-v2.1-base-4view, bytedance/MVDream), or as a folder like those of diffusers but for
its UNet (ashawkey/mvdream_diffusers). Nothing here imports torch: the server lists models too.
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from backend.errors import UserError

_UNETS = ("MultiViewUNetModel", "MultiViewUNetWrapperModel")
_MARK = "camera_embed.0.weight"


def is_published(path: Path) -> bool:
    """Whether `path` has to be converted. Raises UserError for a damaged checkpoint."""
    return _is_checkpoint(path) if path.is_file() else has_published_unet(path)


def has_published_unet(folder: Path) -> bool:
    """Whether the UNet in `folder` has the original names."""
    try:
        config = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("_class_name") in _UNETS


def _is_checkpoint(path: Path) -> bool:
    if path.suffix != ".safetensors" or not path.stat().st_size:
        return False
    try:
        with safe_open(path, "numpy") as file:
            names = file.keys()
        return any(name.endswith(_MARK) for name in names)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} ({error}); fetch it again") from error
